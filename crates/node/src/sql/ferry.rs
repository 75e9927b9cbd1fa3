//! The thread that copies between clients and servers: one epoll, without a runtime in the way of a statement.
//!
//! Deciding, waiting and connecting are others' and asynchronous; a connection comes here when it has a server, and goes back
//! when it ends. A statement costs a wake-up and two system calls for each direction: both ends are watched from the beginning,
//! edge-triggered, and never asked for again; what was read is written at once. One buffer for the whole thread: an idle
//! connection, of which an application's pools hold many, costs none.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::pair::{BUFFER_BYTES, Going, Pair, Side};

/// Readiness of so many sockets is taken at a time; more come with the next look.
const EVENTS_MAX: usize = 256;
/// What a statement that is under way gets when its connection is cut. A primary that was closed as planned has answered
/// within milliseconds; one that is gone never will.
const GRACE: Duration = Duration::from_millis(200);
/// The event of an order; pairs begin at 2.
const ORDERED: u64 = 0;
const WATCHED: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both ends closed it, or one broke it off.
    Closed,
    /// It was cut, and nothing is under way: whatever the client has sent since did not reach the server, and an error is a
    /// true answer to it.
    CutBetween,
    /// It was cut while a statement was under way: nobody can say whether it was carried out.
    CutWithin,
    /// The server's machine is not heard of any more, and nothing is under way.
    LostBetween,
    /// The same while a statement was.
    LostWithin,
}

/// A connection that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// Whether an error can be written to the client without harm.
    pub plain: bool,
    /// Its client; the server's end is closed already.
    pub client: std::net::TcpStream,
}

/// What the thread is asked to do.
enum Order {
    Carry(u64, Box<Pair>, oneshot::Sender<Ended>),
    Cut(u64),
    End,
}

/// Orders that are not taken yet, and what wakes the thread for them.
struct Desk {
    orders: Mutex<Vec<Order>>,
    wake: OwnedFd,
}

impl Desk {
    fn give(&self, order: Order) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        // Its counter overflows after 2^64 orders.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread. It ends when this is dropped.
pub struct Ferry {
    desk: Arc<Desk>,
    next: std::sync::atomic::AtomicU64,
}

impl Ferry {
    /// Starts it.
    ///
    /// # Errors
    /// No thread or no epoll can be made.
    pub fn start() -> io::Result<Ferry> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let desk = Arc::new(Desk { orders: Mutex::default(), wake });
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &desk.wake, EventData::new_u64(ORDERED), EventFlags::IN)?;
        let ferryman = Ferryman::new(poll, Arc::clone(&desk));
        std::thread::Builder::new().name("ms-ferry".into()).spawn(move || ferryman.work())?;
        Ok(Ferry { desk, next: 1.into() })
    }

    /// Copies until both ends are closed, one breaks, or `cut` returns. `None` if the thread is gone.
    pub async fn carry(&self, pair: Pair, cut: impl Future<Output = ()>) -> Option<Ended> {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (done, mut ended) = oneshot::channel();
        self.desk.give(Order::Carry(number, Box::new(pair), done));
        tokio::select! {
            ended = &mut ended => return ended.ok(),
            () = cut => self.desk.give(Order::Cut(number)),
        }
        ended.await.ok()
    }
}

impl Drop for Ferry {
    fn drop(&mut self) {
        self.desk.give(Order::End);
    }
}

/// A connection and who waits for its end.
struct Passage {
    pair: Box<Pair>,
    done: oneshot::Sender<Ended>,
    /// When what is under way is given up, once it is cut.
    until: Option<Instant>,
}

struct Ferryman {
    poll: OwnedFd,
    desk: Arc<Desk>,
    /// By number, of which the events have the double, and one more for the server's end.
    passages: BTreeMap<u64, Passage>,
    /// Those that had more to copy than was their turn.
    again: Vec<u64>,
    /// How many are cut and wait for an answer: only then is the clock looked at.
    cut: usize,
    buffer: Box<[u8]>,
}

impl Ferryman {
    fn new(poll: OwnedFd, desk: Arc<Desk>) -> Ferryman {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Ferryman { poll, desk, passages: BTreeMap::new(), again: Vec::new(), cut: 0, buffer }
    }

    fn work(mut self) {
        // Without this thread nothing passes: the next process is better than none, also after a panic.
        let alarm = Alarm;
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(why) => {
                    tracing::error!("connections cannot be watched any more: {why}");
                    return;
                }
            }
            if !self.turn(&events) {
                return std::mem::forget(alarm);
            }
        }
    }

    /// `None`: until something happens.
    fn timeout(&self) -> Option<Timespec> {
        if !self.again.is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        if self.cut == 0 {
            return None;
        }
        let first = self.passages.values().filter_map(|passage| passage.until).min()?;
        Timespec::try_from(first.saturating_duration_since(Instant::now())).ok()
    }

    /// Does what there is to do; `false` at the end.
    fn turn(&mut self, events: &[Event]) -> bool {
        let again = std::mem::take(&mut self.again);
        let mut ordered = false;
        for event in events {
            let (data, flags) = (event.data.u64(), event.flags);
            if data == ORDERED {
                ordered = true;
                continue;
            }
            let side = if data % 2 == 0 { Side::Client } else { Side::Server };
            if let Some(passage) = self.passages.get_mut(&(data / 2)) {
                passage.pair.note(side, flags);
                self.go_on(data / 2);
            }
        }
        again.into_iter().for_each(|number| self.go_on(number));
        // Last: what came before the order passes before it.
        let goes_on = !ordered || self.obey();
        if self.cut > 0 {
            self.give_up();
        }
        goes_on
    }

    fn obey(&mut self) -> bool {
        let _ = rustix::io::read(&self.desk.wake, &mut [0; 8]);
        for order in self.desk.take() {
            match order {
                Order::Carry(number, pair, done) => self.begin(number, Passage { pair, done, until: None }),
                Order::Cut(number) => self.cut(number),
                Order::End => return false,
            }
        }
        true
    }

    fn begin(&mut self, number: u64, passage: Passage) {
        let watched = [(Side::Client, 0), (Side::Server, 1)].into_iter().try_for_each(|(side, odd)| {
            epoll::add(&self.poll, passage.pair.end(side), EventData::new_u64(number * 2 + odd), WATCHED)
        });
        self.passages.insert(number, passage);
        match watched {
            Ok(()) => self.go_on(number),
            Err(why) => {
                tracing::warn!("a connection cannot be watched: {why}");
                self.finish(number, End::Closed);
            }
        }
    }

    fn go_on(&mut self, number: u64) {
        let Some(passage) = self.passages.get_mut(&number) else { return };
        match passage.pair.go_on(&mut self.buffer) {
            Going::Ended => {
                let end = if passage.until.is_some() { passage.cut_end() } else { End::Closed };
                self.finish(number, end);
            }
            Going::Lost => {
                let end = if passage.pair.is_quiet() { End::LostBetween } else { End::LostWithin };
                self.finish(number, end);
            }
            Going::Again => self.again.push(number),
            Going::Waits if passage.until.is_some() && passage.pair.is_quiet() => self.finish(number, End::CutBetween),
            Going::Waits => {}
        }
    }

    fn cut(&mut self, number: u64) {
        if let Some(passage) = self.passages.get_mut(&number) {
            passage.until = Some(Instant::now() + GRACE);
            passage.pair.cut();
            self.cut += 1;
            self.go_on(number);
        }
    }

    /// Ends those whose answer has not come in time.
    fn give_up(&mut self) {
        let now = Instant::now();
        let late = self.passages.iter().filter(|(_, passage)| passage.until.is_some_and(|until| until <= now));
        let late: Vec<(u64, End)> = late.map(|(number, passage)| (*number, passage.cut_end())).collect();
        late.into_iter().for_each(|(number, end)| self.finish(number, end));
    }

    fn finish(&mut self, number: u64, end: End) {
        let Some(Passage { pair, done, until }) = self.passages.remove(&number) else { return };
        self.cut -= usize::from(until.is_some());
        // It lives on elsewhere; the other end is closed, which takes it out.
        let _ = epoll::delete(&self.poll, pair.end(Side::Client));
        let plain = pair.is_plain();
        // Whoever waited may have gone, at the end of the process.
        let _ = done.send(Ended { end, plain, client: pair.into_client() });
    }
}

impl Passage {
    fn cut_end(&self) -> End {
        if self.pair.is_quiet() { End::CutBetween } else { End::CutWithin }
    }
}

/// Ends the process if its thread does not end as asked.
struct Alarm;

impl Drop for Alarm {
    fn drop(&mut self) {
        tracing::error!("the thread that copies has ended: the service is started anew");
        std::process::exit(1);
    }
}

/// Whether there is nothing to read or no room to write just now.
pub(super) fn is_later(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    /// The first bytes of a client without encryption.
    const HELLO: [u8; 12] = [8, 0, 0, 1, 0x85, 0xa6, 0, 0, 0, 0, 0, 1];

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    /// What the relay holds of a connection: sockets that do not block.
    fn own(stream: TcpStream) -> std::net::TcpStream {
        stream.into_std().unwrap()
    }

    struct Scene {
        client: TcpStream,
        server: TcpStream,
        cut: oneshot::Sender<()>,
        relay: JoinHandle<(End, bool)>,
    }

    async fn scene() -> Scene {
        let ((client, near), (far, server)) = (pair().await, pair().await);
        let (cut, cutting) = oneshot::channel();
        let pair = Pair::new(own(near), own(far), Arc::default());
        let relay = tokio::spawn(async move {
            let ferry = Ferry::start().unwrap();
            let cutting = async { cutting.await.unwrap_or_else(|_| panic!("never cut")) };
            let ended = ferry.carry(pair, cutting).await.unwrap();
            (ended.end, ended.plain)
        });
        Scene { client, server, cut, relay }
    }

    async fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
        from.write_all(bytes).await.unwrap();
        let mut read = vec![0; bytes.len()];
        to.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes);
    }

    /// A client that has said hello and was answered.
    async fn greeted() -> Scene {
        let mut scene = scene().await;
        passes(&mut scene.server, &mut scene.client, b"greeting").await;
        passes(&mut scene.client, &mut scene.server, &HELLO).await;
        passes(&mut scene.server, &mut scene.client, b"ok").await;
        scene
    }

    #[tokio::test]
    async fn what_one_end_sends_the_other_gets_until_both_have_ended() {
        let mut scene = greeted().await;
        scene.client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        scene.server.read_to_end(&mut rest).await.unwrap();
        passes(&mut scene.server, &mut scene.client, b"the last words").await;
        drop(scene.server);
        assert_eq!(scene.relay.await.unwrap().0, End::Closed);
        drop(scene.cut);
    }

    #[tokio::test]
    async fn a_megabyte_passes_a_reader_that_comes_late() {
        let Scene { mut client, mut server, cut, relay } = greeted().await;
        let many: Vec<u8> = (0..4 << 20).map(|byte| (byte % 251) as u8).collect();
        let sent = many.clone();
        let sending = tokio::spawn(async move {
            server.write_all(&sent).await.unwrap();
            server
        });
        let mut read = vec![0; many.len()];
        client.read_exact(&mut read).await.unwrap();
        assert!(read == many);
        drop((client, sending.await.unwrap()));
        assert_eq!(relay.await.unwrap().0, End::Closed);
        drop(cut);
    }

    #[tokio::test]
    async fn cut_while_nothing_is_under_way() {
        let scene = greeted().await;
        scene.cut.send(()).unwrap();
        assert_eq!(scene.relay.await.unwrap(), (End::CutBetween, true));
    }

    #[tokio::test]
    async fn an_answer_that_is_on_its_way_still_comes() {
        let mut scene = greeted().await;
        passes(&mut scene.client, &mut scene.server, b"COMMIT").await;
        scene.cut.send(()).unwrap();
        passes(&mut scene.server, &mut scene.client, b"1290").await;
        assert_eq!(scene.relay.await.unwrap(), (End::CutBetween, true));
    }

    #[tokio::test]
    async fn a_statement_that_nobody_answers_any_more_is_cut_within() {
        let mut scene = greeted().await;
        passes(&mut scene.client, &mut scene.server, b"COMMIT").await;
        scene.cut.send(()).unwrap();
        assert_eq!(scene.relay.await.unwrap(), (End::CutWithin, true));
    }
}
