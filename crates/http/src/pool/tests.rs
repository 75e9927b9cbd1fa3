use super::*;

fn pool(backends: usize, requests_max: u32, waiting_max: u32) -> Arc<Pool> {
    let declared = |number| Declared {
        name: format!("b{number}"),
        weight: 1,
        spare: false,
        address: Some(Address::Unix(format!("/b{number}").into())),
        well: true,
    };
    let settings =
        Settings { name: "test".into(), backend_requests_max: requests_max, waiting_max, ..Settings::default() };
    Pool::new(settings, (0..backends).map(declared).collect())
}

fn wanted(tried: &[usize], within: Duration) -> Wanted<'_> {
    Wanted { tried, within, ..Wanted::default() }
}

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn turns_alternate_and_the_tried_one_is_avoided() {
    let pool = pool(2, 10, 10);
    let first = pool.lease(&wanted(&[], SOON)).await.unwrap().backend;
    let second = pool.lease(&wanted(&[], SOON)).await.unwrap().backend;
    assert_ne!(first, second);
    for _ in 0..4 {
        assert_eq!(pool.lease(&wanted(&[0], SOON)).await.unwrap().backend, 1);
    }
    pool.mark(1, false);
    assert_eq!(pool.lease(&wanted(&[0], SOON)).await.unwrap().backend, 0, "better the tried one than none");
}

#[tokio::test(start_paused = true)]
async fn the_tried_one_is_given_a_moment_to_be_found_dead() {
    let pool = pool(1, 10, 10);
    let began = Instant::now();
    assert_eq!(pool.lease(&wanted(&[0], LONG)).await.unwrap().backend, 0);
    assert_eq!(began.elapsed(), SETTLE);
    let again = wanted(&[0], LONG);
    let (held, ()) = tokio::join!(pool.lease(&again), async {
        tokio::task::yield_now().await;
        pool.place(0, None);
    });
    assert_eq!((held.err(), began.elapsed()), (Some(Refused::Late), SETTLE + LONG));
}

#[tokio::test]
async fn a_full_backend_is_waited_for_and_the_queue_is_bounded() {
    let pool = pool(1, 1, 1);
    let held = pool.lease(&wanted(&[], SOON)).await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.lease(&wanted(&[], LONG)).await.map(|_| ()) }
    });
    while pool.waiting.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.lease(&wanted(&[], LONG)).await.err(), Some(Refused::Full));
    drop(held);
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert_eq!(pool.figures[0].outstanding.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_request_is_held_until_a_backend_is_well() {
    let pool = pool(1, 10, 10);
    pool.mark(0, false);
    assert_eq!(pool.lease(&wanted(&[], SOON)).await.err(), Some(Refused::Late));
    let held = tokio::spawn({
        let pool = pool.clone();
        async move { pool.lease(&wanted(&[], LONG)).await.is_ok() }
    });
    while pool.waiting.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    pool.mark(0, true);
    assert!(held.await.unwrap());
}
