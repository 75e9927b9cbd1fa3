use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::waiting::SETTLE;
use super::*;
use crate::event_loop::{Held, paused, run, sleep, spawn, spawn_held, yielded};

fn declared(number: usize, well: bool) -> Declared {
    let address = well.then(|| Address::Unix(format!("/b{number}").into()));
    Declared { name: format!("b{number}"), weight: 1, spare: false, address, well }
}

fn built(settings: Settings, backends: usize) -> Arc<Pool> {
    Pool::new(settings, (0..backends).map(|number| declared(number, true)).collect())
}

fn pool(backends: usize, backend_requests_max: u32, waiting_max: u32) -> Arc<Pool> {
    built(Settings { name: "test".into(), backend_requests_max, waiting_max, ..Settings::default() }, backends)
}

/// As in front of a tier.
fn watching() -> Settings {
    Settings { outliers: Some(outlier::Config::default()), slow_start: Duration::from_secs(9), ..Settings::default() }
}

fn wanted(tried: &[usize], within: Duration) -> Wanted<'_> {
    Wanted { tried, within, ..Wanted::default() }
}

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(10);

async fn one_waits(pool: &Pool) {
    while pool.waiting() == 0 {
        yielded().await;
    }
}

#[test]
fn turns_alternate_and_the_tried_one_is_avoided() {
    paused(async {
        let pool = pool(2, 10, 10);
        let first = pool.lease(&wanted(&[], SOON)).await.unwrap().backend;
        let second = pool.lease(&wanted(&[], SOON)).await.unwrap().backend;
        assert_ne!(first, second);
        for _ in 0..4 {
            assert_eq!(pool.lease(&wanted(&[0], SOON)).await.unwrap().backend, 1);
        }
        pool.mark(1, false);
        assert_eq!(pool.lease(&wanted(&[0], SOON)).await.unwrap().backend, 0, "better the tried one than none");
    });
}

#[test]
fn the_tried_one_is_given_a_moment_to_be_found_dead() {
    paused(async {
        let pool = pool(1, 10, 10);
        let began = now();
        assert_eq!(pool.lease(&wanted(&[0], LONG)).await.unwrap().backend, 0);
        assert_eq!((now() - began), SETTLE);
        let again = wanted(&[0], LONG);
        let (held, ()) = tokio::join!(pool.lease(&again), async {
            yielded().await;
            pool.place(0, None);
        });
        assert_eq!((held.err(), (now() - began)), (Some(Refused::Late), SETTLE + LONG));
    });
}

#[test]
fn a_full_backend_is_waited_for_and_the_queue_is_bounded() {
    paused(async {
        let pool = pool(1, 1, 1);
        let held = pool.lease(&wanted(&[], SOON)).await.unwrap();
        let later = async {
            one_waits(&pool).await;
            assert_eq!(pool.lease(&wanted(&[], LONG)).await.err(), Some(Refused::Full));
            drop(held);
        };
        let soon = wanted(&[], LONG);
        let (waited, ()) = tokio::join!(pool.lease(&soon), later);
        assert!(waited.is_ok());
        drop(waited);
        assert_eq!(pool.figures[0].outstanding.load(Ordering::SeqCst), 0);
    });
}

/// Somebody who waits: his number, once he was served, and how often he looked up.
fn waits(pool: &Arc<Pool>, number: usize, served: &Rc<RefCell<Vec<usize>>>, turns: &Rc<Cell<usize>>) -> Held {
    let (pool, served, turns) = (pool.clone(), served.clone(), turns.clone());
    spawn_held(async move {
        let wanted = wanted(&[], LONG);
        let mut lease = pin!(pool.lease(&wanted));
        let lease = poll_fn(|context| {
            turns.set(turns.get() + 1);
            lease.as_mut().poll(context)
        });
        let lease = lease.await.unwrap();
        served.borrow_mut().push(number);
        sleep(SOON).await;
        drop(lease);
    })
}

#[test]
fn who_came_first_is_served_first_and_the_others_are_left_alone() {
    paused(async {
        let pool = pool(2, 1, 1000);
        let (served, turns) = (Rc::default(), Rc::default());
        let first = [pool.lease(&wanted(&[], SOON)).await.unwrap(), pool.lease(&wanted(&[], SOON)).await.unwrap()];
        let mut waiting: Vec<Held> = (0..100).map(|number| waits(&pool, number, &served, &turns)).collect();
        while pool.waiting() < 100 {
            yielded().await;
        }
        // These two wait no longer, nor does one whose turn it is: it is another's then.
        drop(waiting.drain(1..3));
        drop(first);
        assert!(pool.free(&wanted(&[], SOON)).is_none(), "whoever comes now does not overtake");
        let wanted = wanted(&[], LONG);
        let mut eager = Box::pin(pool.lease(&wanted));
        assert!(poll_fn(|context| Poll::Ready(eager.as_mut().poll(context))).await.is_pending(), "in no way");
        drop(eager);
        drop(waiting.remove(0));
        sleep(SOON / 2).await;
        assert_eq!(*served.borrow(), [3, 4], "both places are taken");
        let late = waits(&pool, 100, &served, &turns);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(*served.borrow(), (3..=100).collect::<Vec<_>>());
        assert_eq!(turns.get(), 101 + 98, "each came and was called");
        drop((waiting, late));
        assert_eq!(pool.waiting(), 0);
    });
}

#[test]
fn threads_that_wait_for_each_other_are_all_served() {
    const THREADS: usize = 4;
    const EACH: usize = 50;
    const TIMES: usize = 40;
    let pool = pool(2, 1, 1000);
    let thread = || {
        run(async {
            let left = Rc::new(Cell::new(EACH));
            for number in 0..EACH {
                let (pool, left) = (pool.clone(), left.clone());
                spawn(async move {
                    for time in 0..TIMES {
                        // Some have been failed, and some wait no longer than a moment.
                        let tried = [time % 2];
                        let tried = if number % 7 == 0 { &tried[..] } else { &[] };
                        let within = if number % 5 == 0 { Duration::from_micros(50) } else { LONG };
                        match pool.lease(&wanted(tried, within)).await {
                            Ok(_lease) => yielded().await,
                            Err(refused) => assert!(within < LONG, "{refused}"),
                        }
                    }
                    left.set(left.get() - 1);
                });
            }
            let began = now();
            while left.get() > 0 {
                assert!(now() - began < 3 * LONG, "{} still wait", left.get());
                yielded().await;
            }
        })
        .unwrap();
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(thread))));
    assert_eq!(pool.waiting(), 0);
    assert!(pool.figures.iter().all(|figures| figures.outstanding.load(Ordering::SeqCst) == 0));
}

#[test]
fn a_request_is_held_until_a_backend_is_well() {
    paused(async {
        let pool = pool(1, 10, 10);
        pool.mark(0, false);
        assert_eq!(pool.lease(&wanted(&[], SOON)).await.err(), Some(Refused::Late));
        let later = async {
            one_waits(&pool).await;
            pool.mark(0, true);
        };
        let soon = wanted(&[], LONG);
        let (held, ()) = tokio::join!(pool.lease(&soon), later);
        assert!(held.is_ok());
    });
}

/// Of `requests` one after the other, how many backend 0 gets.
async fn served(pool: &Arc<Pool>, requests: usize) -> usize {
    let mut first = 0;
    for _ in 0..requests {
        first += usize::from(pool.lease(&wanted(&[], SOON)).await.unwrap().backend == 0);
    }
    first
}

async fn fails(pool: &Arc<Pool>, times: u32) {
    for _ in 0..times {
        pool.lease(&wanted(&[1], SOON)).await.unwrap().answered(502);
    }
}

#[test]
fn who_fails_in_a_row_is_ejected_and_returns_by_and_by() {
    paused(async {
        let pool = built(watching(), 2);
        fails(&pool, 4).await;
        pool.lease(&wanted(&[1], SOON)).await.unwrap().answered(200);
        fails(&pool, 4).await;
        assert_eq!(served(&pool, 10).await, 5, "a success between them forgives");
        fails(&pool, 1).await;
        assert_eq!(served(&pool, 10).await, 0);
        let because = pool.ejections()[0].to_string();
        assert_eq!(
            because,
            "its requests failed one after the other, the last because it answered 502; it gets none for 10 s"
        );
        sleep(Duration::from_secs(10)).await;
        assert_eq!(served(&pool, 110).await, 10, "a tenth of a share beside a whole one");
        assert_eq!(pool.ejections(), []);
        sleep(Duration::from_secs(9)).await;
        assert_eq!(served(&pool, 10).await, 5);
    });
}

#[test]
fn the_end_of_an_ejection_wakes_who_waits() {
    paused(async {
        let pool = built(Settings { backend_requests_max: 1, ..watching() }, 2);
        fails(&pool, 5).await;
        let (began, busy) = (now(), pool.lease(&wanted(&[], SOON)).await.unwrap());
        assert_eq!(busy.backend, 1);
        let waited = pool.lease(&wanted(&[], 2 * LONG)).await.unwrap();
        assert_eq!((waited.backend, (now() - began).as_secs()), (0, 10));
    });
}

#[test]
fn who_returns_and_still_fails_is_ejected_at_once() {
    paused(async {
        let pool = built(watching(), 2);
        fails(&pool, 5).await;
        sleep(Duration::from_secs(10)).await;
        assert!(served(&pool, 11).await > 0);
        fails(&pool, 1).await;
        assert_eq!(served(&pool, 10).await, 0);
        sleep(Duration::from_secs(19)).await;
        assert_eq!(served(&pool, 11).await, 0, "for twice as long");
    });
}

#[test]
fn the_last_one_is_not_ejected() {
    paused(async {
        let pool = built(watching(), 2);
        pool.mark(1, false);
        fails(&pool, 20).await;
        assert_eq!(served(&pool, 10).await, 10);
        pool.mark(1, true);
        fails(&pool, 1).await;
        assert_eq!(served(&pool, 10).await, 0);
        pool.mark(1, false);
        assert_eq!(served(&pool, 10).await, 10, "when the others turn ill it is back at once");
    });
}

#[test]
fn who_was_never_well_needs_no_slow_start() {
    paused(async {
        let pool = built(watching(), 2);
        pool.mark(0, false);
        pool.mark(0, true);
        assert_eq!(served(&pool, 110).await, 10);
        let pool = Pool::new(watching(), vec![declared(0, true), declared(1, false)]);
        assert_eq!(served(&pool, 10).await, 10);
        pool.place(1, Some(Address::Unix("b1".into())));
        assert_eq!(served(&pool, 10).await, 5);
    });
}

#[test]
fn who_drains_gets_nothing_new() {
    paused(async {
        let pool = built(watching(), 2);
        let held = pool.lease(&wanted(&[1], SOON)).await.unwrap();
        pool.drain(0, true);
        assert_eq!(served(&pool, 10).await, 0);
        assert_eq!((held.backend, pool.figures[0].outstanding.load(Ordering::SeqCst)), (0, 1), "what it has goes on");
        pool.drain(0, false);
        assert_eq!(served(&pool, 10).await, 5, "and it was never ill");
    });
}

#[test]
fn the_slow_one_gets_less() {
    paused(async {
        for algorithm in [Algorithm::Fastest, Algorithm::Observed, Algorithm::Predictive] {
            let pool = built(Settings { algorithm, ..watching() }, 2);
            let mut first = 0;
            for _ in 0..1_000 {
                let lease = pool.lease(&wanted(&[], SOON)).await.unwrap();
                assert!(lease.measures());
                first += u32::from(lease.backend == 0);
                lease.took(Duration::from_millis(if lease.backend == 0 { 80 } else { 10 }));
                sleep(Duration::from_millis(10)).await;
            }
            assert!((1..100).contains(&first), "{algorithm:?}: {first}");
        }
    });
}
