use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::*;

const LONG: Duration = Duration::from_secs(10);

fn pair() -> (Descriptor, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Descriptor::watch(ours.into()).unwrap(), theirs)
}

#[test]
fn tasks_take_turns_and_what_is_held_ends_with_its_holder() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let said = |name: &'static str| {
        let order = order.clone();
        async move {
            for _ in 0..2 {
                order.borrow_mut().push(name);
                yielded().await;
            }
        }
    };
    run(async {
        spawn(said("a"));
        let held = spawn_held(said("b"));
        spawn(async move {
            // Its task has had one turn.
            drop(held);
        });
        for _ in 0..5 {
            yielded().await;
        }
    })
    .unwrap();
    assert_eq!(*order.borrow(), ["a", "b", "a"]);
}

#[test]
fn who_holds_his_own_task_ends_with_this_turn() {
    let dropped = Rc::new(Cell::new(false));
    struct Told(Rc<Cell<bool>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    run(async {
        let (give, take) = oneshot::channel();
        let told = Told(dropped.clone());
        let held = spawn_held(async move {
            let _told = told;
            let held: Held = take.await.unwrap();
            drop(held);
            yielded().await;
            unreachable!();
        });
        give.send(held).ok().unwrap();
        for _ in 0..5 {
            yielded().await;
        }
        assert!(dropped.get());
    })
    .unwrap();
}

#[test]
fn a_panic_ends_its_task_alone_and_the_end_of_the_loop_ends_all() {
    let alive = Rc::new(());
    let kept = alive.clone();
    let ended = run(async move {
        spawn(async { panic!("as it should") });
        let (told, hears) = oneshot::channel();
        spawn(async move {
            told.send(7).unwrap();
            let _kept = kept;
            std::future::pending::<()>().await;
        });
        hears.await
    });
    assert_eq!(ended.unwrap(), Ok(7));
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(run(async {}).is_ok(), "another may follow");
    assert!(run(async { run(async {}).is_err() }).unwrap(), "but not within");
}

#[test]
fn other_threads_wake() {
    let notify = Arc::new(Notify::new());
    let rings = 1000;
    let other = std::thread::spawn({
        let notify = notify.clone();
        move || (0..rings).for_each(|_| notify.notify_one())
    });
    let woken = run(async {
        let blocking = tokio::task::spawn_blocking(|| 5);
        notify.notified().await;
        blocking.await.unwrap()
    });
    assert_eq!(woken.unwrap(), 5);
    other.join().unwrap();
    // A thousand answers, each after a question from the other thread, which waits for the last one.
    let (ask, asked) = std::sync::mpsc::channel::<oneshot::Sender<u32>>();
    let other = std::thread::spawn(move || asked.into_iter().for_each(|answer| answer.send(3).unwrap()));
    let sum = run(async {
        let mut sum = 0;
        for _ in 0..rings {
            let (answer, answered) = oneshot::channel();
            ask.send(answer).unwrap();
            sum += timeout(LONG, answered).await.unwrap().unwrap();
        }
        sum
    });
    drop(ask);
    other.join().unwrap();
    assert_eq!(sum.unwrap(), 3 * rings);
}

#[test]
fn timers_go_off_in_their_order_and_not_early() {
    run(async {
        let began = Instant::now();
        let order = RefCell::new(Vec::new());
        let after = async |millis: u64| {
            sleep(Duration::from_millis(millis)).await;
            assert!(began.elapsed() >= Duration::from_millis(millis));
            order.borrow_mut().push(millis);
        };
        tokio::join!(after(30), after(10), after(20), after(10));
        assert_eq!(*order.borrow(), [10, 10, 20, 30]);
        let late = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(timeout(Duration::MAX, async { 1 }).await.unwrap(), 1);
        assert_eq!(current().unwrap().timers.borrow().until_next(), None, "who no longer waits is forgotten");
    })
    .unwrap();
}

#[test]
fn a_clock_that_stands_is_moved_on_by_who_waits() {
    let began = Instant::now();
    paused(async {
        let before = now();
        let (_, _) = tokio::join!(sleep(LONG), sleep(3 * LONG));
        assert_eq!(now() - before, 3 * LONG);
    });
    assert!(began.elapsed() < LONG);
}

#[test]
fn what_would_block_is_asked_once_and_what_comes_is_told() {
    run(async {
        let (ours, theirs) = pair();
        let mut calls = 0;
        let mut attempt = || {
            ours.attempt(Side::Reading, |_| -> io::Result<()> {
                calls += 1;
                Err(ErrorKind::WouldBlock.into())
            })
        };
        (0..3).for_each(|_| assert!(attempt().is_err()));
        assert_eq!(calls, 0, "nothing was told of it");
        io::Write::write_all(&mut &theirs, b"abc").unwrap();
        timeout(LONG, ours.ready(Side::Reading)).await.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(ours.read(&mut buffer).unwrap(), 3);
        assert_eq!(ours.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(timeout(Duration::from_millis(20), ours.ready(Side::Reading)).await.is_err());
        drop(theirs);
        timeout(LONG, ours.ready(Side::Reading)).await.unwrap();
        ours.drained();
        assert_eq!(ours.read(&mut buffer).unwrap(), 0, "that it was closed is not forgotten");
    })
    .unwrap();
}

#[test]
fn who_has_gone_is_not_told_and_who_is_given_back_is_not_watched() {
    run(async {
        let (ours, theirs) = pair();
        let back = UnixStream::from(ours.unwatched());
        io::Write::write_all(&mut &theirs, b"x").unwrap();
        // In its place.
        let (next, other) = pair();
        assert!(timeout(Duration::from_millis(20), next.ready(Side::Reading)).await.is_err());
        assert_eq!(io::Read::read(&mut &back, &mut [0; 8]).unwrap(), 1);
        drop((next, other));
        assert!(current().unwrap().sources.borrow().is_empty());
    })
    .unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert!(Descriptor::watch(ours.into()).is_err(), "without a loop");
}

#[test]
fn of_room_in_a_unix_socket_is_told_who_had_none() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = Descriptor::watch_unix(ours.into()).unwrap();
        let (piece, mut read) = (vec![0; 4096], vec![0; 4096]);
        let told = || {
            let mut events = Vec::<epoll::Event>::with_capacity(8);
            epoll::wait(&current().unwrap().epoll, spare_capacity(&mut events), Some(&Timespec::default())).unwrap() > 0
        };
        for _ in 0..2 {
            assert_eq!(ours.write(&piece).unwrap(), piece.len());
            io::Read::read_exact(&mut &theirs, &mut read).unwrap();
            assert!(!told(), "nobody asked");
            let mut sent = 0;
            let full = loop {
                match ours.write(&piece) {
                    Ok(count) => sent += count,
                    Err(error) => break error,
                }
            };
            assert_eq!(full.kind(), ErrorKind::WouldBlock);
            assert!(ours.poll(Side::Writing).is_pending());
            read.resize(sent, 0);
            io::Read::read_exact(&mut &theirs, &mut read).unwrap();
            timeout(LONG, ours.ready(Side::Writing)).await.unwrap();
            read.truncate(4096);
        }
    })
    .unwrap();
}

#[test]
fn connections_are_made_accepted_and_refused() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::tcp(listener).unwrap();
        let (connected, accepted) = tokio::join!(tcp(&address), listener.accept());
        let (ours, (theirs, from)) = (connected.unwrap(), accepted.unwrap());
        assert_eq!(from.ip(), address.ip());
        assert!(rustix::net::sockopt::tcp_nodelay(&theirs).unwrap());
        assert_eq!(ours.write(b"ab").unwrap(), 2);
        timeout(LONG, theirs.ready(Side::Reading)).await.unwrap();
        let mut came = Vec::with_capacity(8);
        came.push(b'_');
        assert_eq!((theirs.read_behind(&mut came).unwrap(), &came[..]), (2, &b"_ab"[..]));
        // Bound, so that nobody else listens there.
        let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        deaf.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let address = deaf.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(tcp(&address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(unix("/nobody/is/here".as_ref()).unwrap_err().kind(), ErrorKind::NotFound);
    })
    .unwrap();
}
