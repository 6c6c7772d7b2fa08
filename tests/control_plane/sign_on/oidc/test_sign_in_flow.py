"""People sign in at a real OpenID provider: who they become, which groups they get, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.assembly import ControlPlane
from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.oidc.signing_in import HERE, Corp, changed, query_of

# -------------------------------------------------------------- who they become


async def test_a_person_who_is_new_signs_in_and_has_the_groups_that_the_provider_tells(corp: Corp):
    await corp.ready()
    ada = corp.person("ada", "DBA Team", "Others", email="ada@example.com", acr="urn:example:two-factors", amr=["otp"])
    answer = await corp.sign_in(ada, next="/sessions?state=live")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sessions?state=live")
    who = await corp.who()
    assert (who["name"], who["groups"]) == (ada, ["dba"])
    [row] = await corp.sign_ins()
    assert (row.provider, row.amr, bool(row.provider_session), bool(row.refresh)) == ("corp", ["otp"], True, True)
    assert (await corp.audited("sign-in.opened"))[-1]["provider"] == "corp"


async def test_whoever_signs_in_again_is_the_same_person_with_another_cookie(corp: Corp):
    await corp.ready()
    ada = corp.person("ada", "DBA Team")
    first = await corp.sign_in(ada)
    second = await corp.sign_in(ada)
    names = [answer.headers.get_list("set-cookie")[-1].split(";")[0] for answer in (first, second)]
    assert names[0] != names[1]
    assert names[0].startswith("__Host-assentry=")
    assert len({row.identity_id for row in await corp.sign_ins()}) == 1


async def test_groups_that_the_provider_takes_away_are_gone_with_the_next_sign_in(corp: Corp):
    await corp.ready()
    ada = corp.person("ada", "DBA Team")
    await corp.sign_in(ada)
    corp.person("ada")
    await corp.sign_in(ada)
    assert (await corp.who())["groups"] == []


async def test_groups_are_found_where_the_claims_path_leads(corp: Corp):
    await corp.ready(groups={"claim": "realm_access.roles", "same_names": True})
    ada = corp.person("ada", realm_access={"roles": ["dba", "unknown-here"]})
    await corp.sign_in(ada)
    assert (await corp.who())["groups"] == ["dba"]


async def test_groups_that_do_not_fit_into_the_token_are_asked_for(corp: Corp):
    await corp.ready()
    await corp.sign_in(corp.person("ada", "DBA Team", overage=True))
    assert (await corp.who())["groups"] == ["dba"]


async def test_somebody_is_known_by_the_subject_alone_never_by_an_address_that_is_not_verified(
    corp: Corp, control_plane: ControlPlane, person
):
    await person("rosa", "admin")
    await corp.ready(linking={"by_email": ["example.org"]})
    mallory = corp.person("mallory", email="rosa@example.org", verified=False)
    answer = await corp.sign_in(mallory)
    assert answer.status_code == 403
    assert await corp.who() == {}
    assert (await corp.audited("sign-in.refused"))[-1]["subject"] == mallory


async def test_a_verified_address_of_a_listed_domain_links_once(corp: Corp, person):
    await person("rosa", "reviewer")
    await corp.ready(linking={"by_email": ["example.org"]})
    there = corp.person("r", email="rosa@example.org")
    assert (await corp.sign_in(there)).status_code == 303
    corp.person("r", email="somebody@elsewhere.example")
    assert (await corp.sign_in(there)).status_code == 303
    assert (await corp.who())["name"] == "rosa"


async def test_somebody_who_was_disabled_here_does_not_come_in(corp: Corp):
    await corp.ready()
    ada = corp.person("ada")
    await corp.sign_in(ada)
    await corp.disable(ada)
    assert (await corp.sign_in(ada)).status_code == 403
    assert await corp.who() == {}


async def test_keys_that_the_provider_changes_are_learned_when_a_token_needs_them(corp: Corp, clock: ManualClock):
    await corp.ready()
    ada = corp.person("ada")
    await corp.sign_in(ada)
    corp.provider.new_keys()
    clock.advance(minutes=1)
    assert (await corp.sign_in(ada)).status_code == 303


# -------------------------------------------------------------- what the browser is sent with


async def test_the_browser_is_sent_with_pkce_state_and_nonce_and_none_of_it_is_kept(corp: Corp):
    await corp.ready(oidc={"acr_values": ["urn:example:two-factors"]})
    query = query_of(await corp.start())
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == f"{HERE}/sign-in/oidc/corp/callback"
    assert query["acr_values"] == "urn:example:two-factors"
    assert [len(query[name]) for name in ("state", "nonce", "code_challenge")] == [52, 43, 43]
    [cookie] = corp.here.cookies.jar
    assert cookie.name.startswith("__Host-assentry-oidc-")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.secure
    assert (cookie.expires or 0) <= datetime.now(UTC).timestamp() + 600
    assert query["nonce"] not in str(cookie.value)


async def test_two_tabs_sign_in_without_disturbing_each_other(corp: Corp):
    await corp.ready()
    ada = corp.person("ada")
    first, second = await corp.start(next="/sessions"), await corp.start(next="/accounts")
    for url, path in ((first, "/sessions"), (second, "/accounts")):
        answer = await corp.here.get(await corp.signed_in_there(url, ada))
        assert answer.headers["location"] == path


@pytest.mark.parametrize(
    "path", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/\x01", "evil"]
)
async def test_nobody_is_led_elsewhere_after_signing_in(corp: Corp, path: str):
    await corp.ready()
    answer = await corp.sign_in(corp.person("ada"), next=path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


# -------------------------------------------------------------- what comes back


async def refused(corp: Corp, url: str, cause: str) -> None:
    answer = await corp.here.get(url)
    assert answer.status_code == 403
    assert "ask an admin" in answer.text
    assert cause not in answer.text
    assert cause in await corp.cause()
    assert await corp.who() == {}


async def test_an_answer_counts_once(corp: Corp):
    await corp.ready()
    url = await corp.signed_in_there(await corp.start(), corp.person("ada"))
    assert (await corp.here.get(url)).status_code == 303
    corp.here.cookies.delete("__Host-assentry")
    await refused(corp, url, "the state is unknown")


async def test_an_answer_in_another_browser_opens_nothing(corp: Corp):
    await corp.ready()
    url = await corp.signed_in_there(await corp.start(), corp.person("mallory"))
    corp.here.cookies.clear()
    await refused(corp, url, "another browser")


async def test_an_answer_with_the_cookie_of_another_flow_opens_nothing(corp: Corp):
    await corp.ready()
    first = await corp.start()
    [own] = list(corp.here.cookies.jar)
    mine = await corp.signed_in_there(first, corp.person("mallory"))
    await corp.start()
    [other] = [one for one in corp.here.cookies.jar if one.name != own.name]
    corp.here.cookies.set(own.name, other.value or "", domain=own.domain, path="/")
    corp.here.cookies.delete(other.name)
    await refused(corp, mine, "another browser")


async def test_an_answer_that_comes_too_late_opens_nothing(corp: Corp, clock: ManualClock):
    await corp.ready()
    url = await corp.signed_in_there(await corp.start(), corp.person("ada"))
    clock.advance(minutes=10)
    await refused(corp, url, "too late")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"state": "a" * 52}, "the state is unknown"),
        ({"state": "' OR 1=1 --"}, "none that was made here"),
        ({"state": None}, "none that was made here"),
        ({"iss": "https://evil.example"}, "from another provider"),
        ({"iss": None}, "does not say which provider"),
        ({"code": None}, "without a code"),
        ({"code": "x" * 5000}, "without a code"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"error": "access_denied"}, "access_denied"),
    ],
)
async def test_an_answer_that_was_tampered_with_opens_nothing(corp: Corp, change: dict[str, str | None], cause: str):
    await corp.ready()
    url = await corp.signed_in_there(await corp.start(), corp.person("ada"))
    await refused(corp, changed(url, **change), cause)


async def test_a_parameter_that_is_there_twice_opens_nothing(corp: Corp):
    await corp.ready()
    url = await corp.signed_in_there(await corp.start(), corp.person("ada"))
    await refused(corp, f"{url}&state={query_of(url)['state']}", "none that was made here")


async def test_an_answer_of_one_provider_is_not_taken_for_anothers(corp: Corp):
    await corp.ready()
    await corp.apply(corp.document("other"))
    url = await corp.signed_in_there(await corp.start(), corp.person("ada"))
    await refused(corp, url.replace("/corp/", "/other/"), "came back from this one")


async def test_a_code_of_somebody_elses_flow_does_not_fit(corp: Corp):
    """Code injection: the verifier and the nonce are of another browser's flow."""
    await corp.ready()
    stolen = query_of(await corp.signed_in_there(await corp.start(), corp.person("ada")))["code"]
    mine = await corp.signed_in_there(await corp.start(), corp.person("mallory"))
    await refused(corp, changed(mine, code=stolen), "invalid_grant")


async def test_an_acr_that_was_asked_for_and_not_given_is_refused(corp: Corp):
    await corp.ready(oidc={"acr_values": ["urn:example:two-factors"]})
    url = await corp.signed_in_there(await corp.start(), corp.person("ada", acr="urn:example:password"))
    await refused(corp, url, "none of those that were asked for")


async def test_groups_that_are_nowhere_to_be_had_are_not_lost_in_silence(corp: Corp):
    await corp.ready(groups={"claim": "roles", "map": {"DBA Team": "dba"}})
    url = await corp.signed_in_there(await corp.start(), corp.person("ada", hasgroups=True))
    await refused(corp, url, "more groups than its token holds")


# -------------------------------------------------------------- the provider


@pytest.mark.parametrize("provider", ["nobody", "../corp", "a" * 65])
async def test_a_provider_that_there_is_not_begins_nothing(corp: Corp, provider: str):
    await corp.ready()
    assert (await corp.here.get(f"/sign-in/oidc/{provider}")).status_code in {404, 422}


async def test_a_provider_that_is_disabled_begins_and_ends_nothing(corp: Corp):
    await corp.ready()
    url = await corp.signed_in_there(await corp.start(), corp.person("ada"))
    await corp.apply(corp.document(disabled=True))
    assert (await corp.here.get("/sign-in/oidc/corp")).status_code == 404
    assert (await corp.here.get(url)).status_code == 404
    assert await corp.who() == {}


async def test_a_provider_that_cannot_be_asked_is_said_plainly_and_the_cause_is_audited(corp: Corp):
    await corp.ready(oidc={"issuer": "http://127.0.0.1:9"})
    answer = await corp.here.get("/sign-in/oidc/corp")
    assert answer.status_code == 403
    assert "127.0.0.1:9" not in answer.text
    assert "cannot be asked" in await corp.cause()


async def test_a_client_secret_that_is_wrong_opens_nothing(corp: Corp):
    await corp.ready()
    assert (await corp.secret("another")).is_success
    url = await corp.signed_in_there(await corp.start(), corp.person("ada"))
    await refused(corp, url, "invalid_client")


async def test_an_issuer_that_is_not_written_as_the_provider_writes_it_is_refused(corp: Corp):
    await corp.ready(oidc={"issuer": f"{corp.provider.issuer}/"})
    assert (await corp.here.get("/sign-in/oidc/corp")).status_code == 403
    assert "write it exactly so" in await corp.cause()


# -------------------------------------------------------------- proving again


async def test_somebody_proves_again_at_the_provider_who_they_are(corp: Corp, clock: ManualClock):
    await corp.ready()
    ada = corp.person("ada")
    await corp.sign_in(ada)
    [before] = await corp.sign_ins()
    async with corp.control_plane.units() as uow:
        row = await uow.session.merge(before)
        row.authenticated_at = uow.now - timedelta(hours=2)
    url = await corp.start("/sign-in/oidc/corp/again", next="/approvals/x")
    assert (query_of(url)["prompt"], query_of(url)["max_age"]) == ("login", "0")
    answer = await corp.here.get(await corp.signed_in_there(url, ada))
    assert (answer.status_code, answer.headers["location"]) == (303, "/approvals/x")
    [after] = await corp.sign_ins()
    assert after.id == before.id
    assert after.authenticated_at is not None
    assert clock.now() - after.authenticated_at < timedelta(minutes=1)
    [told] = await corp.audited("sign-in.reauthenticated")
    assert told["provider"] == "corp"


async def test_somebody_else_does_not_prove_it(corp: Corp):
    """Though they are known here as well."""
    await corp.ready()
    mallory = corp.person("mallory")
    assert (await corp.sign_in(mallory)).status_code == 303
    corp.there = corp.provider.browser()
    await corp.sign_in(corp.person("ada"))
    url = await corp.start("/sign-in/oidc/corp/again")
    corp.there = corp.provider.browser()
    answer = await corp.here.get(await corp.signed_in_there(url, mallory))
    assert answer.status_code == 403
    assert "somebody else there" in await corp.cause()
    assert (await corp.who())["name"] == corp.name("ada")


async def test_an_answer_that_proves_again_opens_no_sign_in_for_somebody_who_has_none(corp: Corp):
    await corp.ready()
    ada = corp.person("ada")
    await corp.sign_in(ada)
    url = await corp.start("/sign-in/oidc/corp/again")
    corp.here.cookies.delete("__Host-assentry")
    assert (await corp.here.get(await corp.signed_in_there(url, ada))).status_code == 403
    assert len(await corp.sign_ins()) == 1


async def test_a_sign_in_that_the_provider_still_had_is_not_fresh(corp: Corp, clock: ManualClock):
    await corp.ready()
    ada = corp.person("ada")
    await corp.sign_in(ada)
    clock.advance(minutes=8)
    corp.here.cookies.delete("__Host-assentry")
    await corp.sign_in(ada)
    newest = max(await corp.sign_ins(), key=lambda row: row.created_at)
    assert newest.authenticated_at is not None
    assert newest.created_at - newest.authenticated_at >= timedelta(minutes=7)


async def test_beginning_before_each_bad_answer_does_not_fill_the_audit_log(corp: Corp):
    await corp.ready()
    for _ in range(20):
        begun = query_of(await corp.start())
        told = {"state": begun["state"], "iss": corp.provider.issuer, "error": "x"}
        assert (await corp.here.get("/sign-in/oidc/corp/callback", params=told)).status_code == 403
    causes = [one["cause"] for one in await corp.audited("sign-in.refused")]
    assert 0 < len(causes) < 10
    assert causes[0] == "the provider says 'x' ''"
