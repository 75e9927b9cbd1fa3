use super::super::asked::Asked;
use super::super::stored::{Answer, Draft, Moment};
use super::*;
use crate::codec::HeadLimits;

const MIB: u64 = 1024 * 1024;

fn request(target: &str, lines: &str) -> Request {
    let mut request = Request::default();
    let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    assert!(request.read(head.as_bytes(), &HeadLimits::default()).unwrap().is_some());
    request
}

/// An answer to `request` with the headers `more`.
fn stored(request: &Request, more: &[(&str, &str)], body: &[u8]) -> Arc<Stored> {
    let headers: Vec<(&str, &[u8])> =
        [("Cache-Control", "max-age=60")].iter().chain(more).map(|(name, value)| (*name, value.as_bytes())).collect();
    let answer = Answer { status: 200, line: b" 200 OK\r\n", headers: &headers };
    let draft = Draft::new(request, &Asked::of(request), answer, Moment::now()).unwrap();
    Arc::new(draft.with(body.to_vec()))
}

struct Bench(Store);

impl Bench {
    fn put(&self, target: &str, lines: &str, more: &[(&str, &str)], body: &[u8]) -> bool {
        let request = request(target, lines);
        let asking = self.0.asking("http", "h", target);
        self.0.put(&asking, self.0.epoch(&asking), stored(&request, more, body))
    }

    fn body(&self, target: &str, lines: &str) -> Option<Vec<u8>> {
        match self.0.find(&self.0.asking("http", "h", target), &request(target, lines)) {
            Found::This(stored) => Some(stored.body.to_vec()),
            _ => None,
        }
    }
}

#[test]
fn variants_stand_beside_each_other_and_the_newer_replaces_its_like() {
    let bench = Bench(Store::new(8 * MIB, MIB));
    let vary = [("Vary", "Foo")];
    assert!(bench.put("/a", "Foo: 1\r\n", &vary, b"one"));
    assert!(bench.put("/a", "Foo: 2\r\n", &vary, b"two"));
    assert_eq!(bench.body("/a", "Foo: 1\r\n").unwrap(), b"one");
    assert_eq!(bench.body("/a", "Foo: 2\r\n").unwrap(), b"two");
    assert_eq!(bench.body("/a", ""), None);
    assert!(bench.put("/a", "Foo: 1\r\n", &vary, b"one again"));
    assert_eq!(bench.body("/a", "Foo: 1\r\n").unwrap(), b"one again");
    assert_eq!(bench.body("/b", ""), None);
}

#[test]
fn variants_are_bounded() {
    let bench = Bench(Store::new(8 * MIB, MIB));
    for number in 0..2 * VARIANTS_MAX {
        bench.put("/a", &format!("Foo: {number}\r\n"), &[("Vary", "Foo")], b"x");
    }
    let there = (0..2 * VARIANTS_MAX).filter(|number| bench.body("/a", &format!("Foo: {number}\r\n")).is_some());
    assert_eq!(there.collect::<Vec<_>>(), (VARIANTS_MAX..2 * VARIANTS_MAX).collect::<Vec<_>>());
}

#[test]
fn what_was_fetched_before_a_removal_is_not_put_in_after_it() {
    let bench = Bench(Store::new(8 * MIB, MIB));
    let asking = bench.0.asking("http", "h", "/a");
    let before = bench.0.epoch(&asking);
    assert!(!bench.0.remove(&asking), "there is nothing yet");
    assert!(!bench.0.put(&asking, before, stored(&request("/a", ""), &[], b"old")));
    assert!(bench.put("/a", "", &[], b"new"));
    let before = bench.0.epoch(&asking);
    assert_eq!(bench.0.remove_where(|_, _| true), 1);
    assert!(!bench.0.put(&asking, before, stored(&request("/a", ""), &[], b"old")));
    assert_eq!(bench.body("/a", ""), None);
}

#[test]
fn a_removal_keeps_out_its_own_address_alone() {
    let mut stripe = Stripe::default();
    let before = Epoch(stripe.removals);
    stripe.removed(1);
    assert!(stripe.has_removed(1, before) && !stripe.has_removed(2, before));
    assert!(!stripe.has_removed(1, Epoch(stripe.removals)), "what is fetched afterwards is new");
    (3..2 + REMEMBERED as u64).for_each(|hash| stripe.removed(hash));
    assert!(stripe.has_removed(1, before) && !stripe.has_removed(2, before));
    stripe.removed(99);
    assert!(stripe.has_removed(2, before), "more than is remembered might be anything");
    let before = Epoch(stripe.removals);
    stripe.cleared();
    assert!(stripe.has_removed(2, before));
}

#[test]
fn tags_reach_all_that_have_them() {
    let bench = Bench(Store::new(8 * MIB, MIB));
    bench.put("/a", "", &[("Cache-Tag", "post-1, list")], b"a");
    bench.put("/b", "", &[("Surrogate-Key", "post-2 list")], b"b");
    bench.put("/c", "", &[], b"c");
    assert_eq!(bench.0.remove_where(|_, stored| stored.tags.have("post-1")), 1);
    assert_eq!(bench.0.remove_where(|_, stored| stored.tags.have("list")), 1);
    assert!(bench.body("/a", "").is_none() && bench.body("/b", "").is_none() && bench.body("/c", "").is_some());
}

#[test]
fn memory_is_bounded_and_what_made_room_is_counted() {
    let bench = Bench(Store::new(MIB, MIB / 8));
    for number in 0..100 {
        bench.put(&format!("/{number}"), "", &[], &[b'x'; 100_000]);
        assert!(bench.0.size().0 <= MIB);
    }
    let (bytes, addresses) = bench.0.size();
    assert!(addresses >= 5 && bytes >= addresses * 100_000, "{addresses} addresses, {bytes} bytes");
    assert!(bench.0.evicted_bytes() >= (100 - addresses) * 100_000);
}

#[test]
fn the_largest_object_fits_whatever_the_size() {
    for mebibytes in [1, 8, 64, 100, 4096] {
        let bytes = mebibytes * MIB;
        let object = MIB.min(bytes / 8);
        let bench = Bench(Store::new(bytes, object));
        bench.put("/a", "", &[], &vec![b'x'; object as usize]);
        assert!(bench.body("/a", "").is_some(), "{mebibytes} MiB");
    }
}
