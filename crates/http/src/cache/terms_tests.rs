use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

/// A moment, and texts of dates around it.
const NOW: Duration = Duration::from_secs(1_600_000_000);

fn at(seconds: i64) -> String {
    let seconds = NOW.as_secs() as i64 + seconds;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds as u64))
}

fn decided(asked: &Asked<'_>, status: u16, lines: &[(&str, &str)]) -> Result<Terms, Unstored> {
    let said = Said::of(lines.iter().map(|(name, value)| (*name, value.as_bytes())));
    decide(asked, status, &said, UNIX_EPOCH + NOW)
}

fn nobody() -> Asked<'static> {
    Asked::default()
}

fn with_cookie() -> Asked<'static> {
    Asked { cookie: true, ..Asked::default() }
}

fn seconds(lines: &[(&str, &str)]) -> u64 {
    decided(&nobody(), 200, lines).map_or(0, |terms| terms.lifetime.as_secs())
}

#[test]
fn what_is_never_stored() {
    use Unstored::*;
    let fresh = |more: &'static str| vec![("Cache-Control", "max-age=60"), ("Cache-Control", more)];
    for (lines, unstored) in [
        (fresh("no-store"), NoStore),
        (fresh("private"), Private),
        (vec![("Cache-Control", "max-age=60"), ("Set-Cookie", "a=b")], SetCookie),
        (vec![("Cache-Control", "public, s-maxage=60"), ("Set-Cookie", "a=b")], SetCookie),
        (vec![("Surrogate-Control", "max-age=60"), ("Set-Cookie", "a=b")], SetCookie),
        (vec![("Cache-Control", "max-age=60"), ("Vary", "*")], VariesByAnything),
        (vec![], Useless),
        (vec![("ETag", "\"a\"")], Useless),
        (vec![("Cache-Control", "max-age=0")], Useless),
    ] {
        assert_eq!(decided(&nobody(), 200, &lines), Err(unstored), "{lines:?}");
    }
    let no_store = Asked { no_store: true, ..Asked::default() };
    assert_eq!(decided(&no_store, 200, &fresh("public")), Err(RequestNoStore));
    for status in [100, 103, 206, 304] {
        assert_eq!(decided(&nobody(), status, &fresh("public")), Err(Status));
    }
}

#[test]
fn a_cookie_that_is_left_out_does_not_matter() {
    let lines = [("Cache-Control", "max-age=60, no-cache=\"Set-Cookie\""), ("Set-Cookie", "a=b")];
    assert!(decided(&nobody(), 200, &lines).is_ok());
}

#[test]
fn authorization_needs_the_origins_word() {
    let authorized = Asked { authorization: true, ..Asked::default() };
    for (control, stored) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
    ] {
        assert_eq!(decided(&authorized, 200, &[("Cache-Control", control)]).is_ok(), stored, "{control}");
    }
}

#[test]
fn must_understand() {
    let lines = [("Cache-Control", "max-age=60, must-understand, no-store")];
    assert!(decided(&nobody(), 200, &lines).is_ok(), "no-store is for those who do not understand");
    assert_eq!(decided(&nobody(), 299, &lines), Err(Unstored::Status));
    assert_eq!(decided(&nobody(), 599, &[("Cache-Control", "max-age=60, must-understand")]), Err(Unstored::Status));
}

#[test]
fn lifetimes_in_their_order() {
    let (hence, ago, date) = (at(300), at(-300), at(0));
    for (lines, lifetime) in [
        (vec![("Cache-Control", "max-age=60, s-maxage=5")], 5),
        (vec![("Cache-Control", "max-age=1, s-maxage=500"), ("Expires", &ago)], 500),
        (vec![("Cache-Control", "max-age=60"), ("Expires", &ago), ("Date", &date)], 60),
        (vec![("Cache-Control", "max-age=0"), ("Expires", &hence), ("Date", &date)], 0),
        (vec![("Expires", &hence), ("Date", &date)], 300),
        (vec![("Expires", &hence)], 300),
        (vec![("Expires", &hence), ("Date", "foo")], 300),
        (vec![("Expires", &hence), ("Date", &hence)], 0),
        (vec![("Expires", "0"), ("Date", &date)], 0),
        (vec![("Cache-Control", "max-age=60"), ("Age", "x")], 0),
        (vec![("Surrogate-Control", "max-age=0"), ("Expires", &hence)], 0),
        (vec![("Cache-Control", "max-age=1"), ("CDN-Cache-Control", "max-age=60")], 60),
        (vec![("Cache-Control", "max-age=60"), ("CDN-Cache-Control", "x")], 0),
    ] {
        assert_eq!(seconds(&lines), lifetime, "{lines:?}");
    }
}

#[test]
fn what_is_guessed_is_short_and_for_strangers() {
    let (long_ago, lately, date) = (at(-86_400 * 30), at(-100), at(0));
    let changed = |since: &'static str| {
        let since = if since == "long ago" { long_ago.clone() } else { lately.clone() };
        [("Last-Modified".to_owned(), since), ("Date".to_owned(), date.clone())]
    };
    let guess = |asked: &Asked<'_>, status, since| {
        let lines = changed(since);
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        decided(asked, status, &lines).map(|terms| (terms.lifetime.as_secs(), terms.anonymous))
    };
    assert_eq!(guess(&nobody(), 200, "long ago"), Ok((300, true)));
    assert_eq!(guess(&nobody(), 200, "lately"), Ok((10, true)));
    assert_eq!(guess(&with_cookie(), 200, "long ago"), Err(Unstored::Useless));
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert!(guess(&nobody(), status, "long ago").is_ok(), "{status}");
    }
    for status in [201, 202, 302, 307, 403, 500, 502, 503, 504, 599] {
        assert!(guess(&nobody(), status, "long ago").is_err(), "{status}");
    }
    let public = [("Cache-Control", "public"), ("Last-Modified", &long_ago[..])];
    assert!(decided(&nobody(), 599, &public).is_ok());
}

#[test]
fn what_must_be_asked_for_each_time_is_between_strangers() {
    let lines = [("Cache-Control", "no-cache"), ("ETag", "\"a\"")];
    let terms = decided(&nobody(), 200, &lines).unwrap();
    assert_eq!(terms.allow(&nobody(), Duration::ZERO), Use::Validate);
    assert_eq!(terms.allow(&with_cookie(), Duration::ZERO), Use::Apart);
    assert_eq!(decided(&with_cookie(), 200, &lines), Err(Unstored::Useless));
    assert!(decided(&with_cookie(), 200, &[("Cache-Control", "public, max-age=0"), ("ETag", "\"a\"")]).is_ok());
    assert!(decided(&with_cookie(), 200, &[("Cache-Control", "max-age=60")]).is_ok(), "fresh for everybody, it says");
}

fn terms(control: &str) -> Terms {
    decided(&nobody(), 200, &[("Cache-Control", control), ("ETag", "\"a\"")]).unwrap()
}

#[test]
fn use_by_age_and_by_what_the_client_wants() {
    let terms = terms("max-age=60");
    let is = |asked: Asked<'_>, age| terms.allow(&asked, Duration::from_secs(age));
    assert_eq!(is(nobody(), 59), Use::Fresh);
    assert_eq!(is(nobody(), 60), Use::Validate);
    assert_eq!(is(Asked { no_cache: true, ..nobody() }, 0), Use::Validate);
    assert_eq!(is(Asked { max_age: Some(5), ..nobody() }, 5), Use::Fresh);
    assert_eq!(is(Asked { max_age: Some(5), ..nobody() }, 6), Use::Validate);
    assert_eq!(is(Asked { min_fresh: Some(10), ..nobody() }, 49), Use::Fresh);
    assert_eq!(is(Asked { min_fresh: Some(10), ..nobody() }, 50), Use::Validate);
    assert_eq!(is(Asked { min_fresh: Some(u64::MAX), max_stale: Some(u64::MAX), ..nobody() }, 0), Use::Validate);
    assert_eq!(is(Asked { max_stale: Some(40), ..nobody() }, 100), Use::Fresh);
    assert_eq!(is(Asked { max_stale: Some(39), ..nobody() }, 100), Use::Validate);
}

#[test]
fn staleness() {
    let swr = terms("max-age=60, stale-while-revalidate=30");
    assert_eq!(swr.allow(&nobody(), Duration::from_secs(89)), Use::WhileRevalidate);
    assert_eq!(swr.allow(&nobody(), Duration::from_secs(90)), Use::Validate);
    let after = |control: &str, status, age| terms(control).spares(status, Duration::from_secs(age));
    assert!(after("max-age=60, stale-if-error=30", Some(503), 89));
    assert!(!after("max-age=60, stale-if-error=30", Some(503), 90));
    assert!(!after("max-age=60, stale-if-error=30", Some(404), 61));
    assert!(!after("max-age=60", Some(503), 61), "an answer is an answer");
    assert!(after("max-age=60", None, 61 + 500), "nobody is there");
    assert!(!after("max-age=60", None, 61 + 600));
    for forbids in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"] {
        let control = format!("max-age=60, {forbids}");
        assert!(!after(&control, None, 61), "{forbids}");
        let stale = Asked { max_stale: Some(u64::MAX), ..nobody() };
        assert_eq!(terms(&control).allow(&stale, Duration::from_secs(61)), Use::Validate, "{forbids}");
    }
    let named = terms("s-maxage=60, stale-while-revalidate=30");
    assert_eq!(named.allow(&nobody(), Duration::from_secs(61)), Use::WhileRevalidate, "allowed by name");
}

/// Directives in any mixture.
fn control() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "no-store",
        "private",
        "no-cache",
        "public",
        "max-age=0",
        "max-age=60",
        "s-maxage=5",
        "must-revalidate",
        "stale-while-revalidate=9",
        "stale-if-error=9",
        "must-understand",
        "private=\"a\"",
        "foo",
    ]);
    prop::collection::vec(word, 0..5).prop_map(|words| words.join(", "))
}

proptest! {
    #[test]
    fn nothing_private_is_stored(control in control(), cookie: bool, authorization: bool, status in 200u16..600) {
        let asked = Asked { cookie, authorization, ..Asked::default() };
        let last = at(-1000);
        let lines = [("Cache-Control", &control[..]), ("Last-Modified", &last), ("ETag", "\"a\"")];
        let words: Vec<&str> = control.split(", ").collect();
        let decided = decided(&asked, status, &lines);
        prop_assert!(!(words.contains(&"private") && decided.is_ok()));
        prop_assert!(!(words.contains(&"no-store") && !words.contains(&"must-understand") && decided.is_ok()));
        if let Ok(terms) = decided {
            // Who says who he is gets only what the origin declared fresh, or public, for all.
            let declared = ["max-age=60", "s-maxage=5", "public"].iter().any(|word| words.contains(word));
            prop_assert!(declared || !asked.is_personal());
            prop_assert!(declared || terms.allow(&with_cookie(), Duration::ZERO) == Use::Apart);
        }
    }

    #[test]
    fn nothing_gets_fresher_with_age(control in control(), age in 0u64..200, more in 0u64..200) {
        let rank = |used| match used { Use::Fresh => 0, Use::WhileRevalidate => 1, Use::Validate => 2, Use::Apart => 3 };
        if let Ok(terms) = decided(&nobody(), 200, &[("Cache-Control", &control), ("ETag", "\"a\"")]) {
            let then = |age| rank(terms.allow(&nobody(), Duration::from_secs(age)));
            prop_assert!(then(age) <= then(age + more));
            prop_assert!(terms.spares(None, Duration::from_secs(age)) || !terms.spares(None, Duration::from_secs(age + more)));
        }
    }
}
