"""Doubles of ticketing systems: strict about what their documentation demands, over real HTTP. No Jira or ServiceNow is
here, so what these do not know of the real ones, the tests do not know either."""
