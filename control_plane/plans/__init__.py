"""Plans: several operations told beforehand as one request. What a plan lets run is decided in `approvals.planned`."""
