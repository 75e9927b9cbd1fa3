//! Copying between a client and a server, until either ends or the connection is cut.
//!
//! Statements are not understood, but it is known who spoke last: while that is the client, a statement is under way.
//!
//! One task and two system calls for each direction of a statement: both ends are read when epoll says so, and written at
//! once. One buffer for the whole thread: an idle connection, of which an application's pools hold many, costs none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::packet;

/// Large enough that a big result set is not copied in crumbs.
const BUFFER_BYTES: usize = 128 << 10;
/// What a statement that is under way gets when its connection is cut. A primary that was closed as planned has answered
/// within milliseconds; one that is gone never will.
const GRACE: Duration = Duration::from_millis(200);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

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
}

/// Bytes in both directions.
#[derive(Default)]
pub struct Tally {
    /// To the server.
    pub sent: AtomicU64,
    /// From the server.
    pub received: AtomicU64,
}

/// The two ends of a connection.
pub struct Relay<'a> {
    client: &'a TcpStream,
    server: &'a TcpStream,
    tally: &'a Tally,
    up: Pipe,
    down: Pipe,
    spoke_last: Option<Side>,
    plain: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl<'a> Relay<'a> {
    /// Between these two; what passes is added to `tally`.
    pub fn new(client: &'a TcpStream, server: &'a TcpStream, tally: &'a Tally) -> Relay<'a> {
        Relay { client, server, tally, up: Pipe::default(), down: Pipe::default(), spoke_last: None, plain: None }
    }

    /// Copies until both ends are closed, one breaks, or `cut` returns.
    pub async fn run(&mut self, cut: impl Future<Output = ()>) -> End {
        let mut cut = pin!(cut);
        let ended = poll_fn(|context| {
            if let Poll::Ready(end) = self.pass(context) {
                return Poll::Ready(Some(end));
            }
            cut.as_mut().poll(context).map(|()| None)
        });
        match ended.await {
            Some(end) => end,
            None => self.finish().await,
        }
    }

    /// Whether an error can be written to the client without harm.
    pub fn is_plain(&self) -> bool {
        self.plain == Some(true)
    }

    fn pass(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let down = self.pass_down(context);
        let up = self.pass_up(context);
        match (up, down) {
            // An end that breaks is the application's to handle; it sees the connection close.
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(End::Closed),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            _ => Poll::Pending,
        }
    }

    fn pass_up(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (spoke_last, plain) = (&mut self.spoke_last, &mut self.plain);
        self.up.pass(context, self.client, self.server, |bytes| {
            self.tally.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            *spoke_last = Some(Side::Client);
            if plain.is_none() {
                *plain = Some(packet::is_plain(bytes));
            }
        })
    }

    fn pass_down(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let spoke_last = &mut self.spoke_last;
        self.down.pass(context, self.server, self.client, |bytes| {
            self.tally.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            *spoke_last = Some(Side::Server);
        })
    }

    /// From now on nothing of the client's passes; an answer that is on its way does.
    async fn finish(&mut self) -> End {
        let answered = poll_fn(|context| match self.pass_down(context) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending if self.is_quiet() => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        });
        let _ = timeout(GRACE, answered).await;
        if self.is_quiet() { End::CutBetween } else { End::CutWithin }
    }

    fn is_quiet(&self) -> bool {
        self.spoke_last != Some(Side::Client) && self.up.is_empty() && self.down.is_empty()
    }
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// What was read and not written yet; nothing more is read meanwhile.
    rest: Vec<u8>,
    ended: bool,
}

impl Pipe {
    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Passes on what there is; ready at the end of `from`, which is passed on too, while the other direction goes on.
    fn pass(
        &mut self,
        context: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        mut seen: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.write_rest(context, to))?;
            ready!(from.poll_read_ready(context))?;
            match self.step(from, to, &mut seen) {
                Ok(0) => {
                    self.ended = true;
                    // The other end may be gone already.
                    let _ = SockRef::from(to).shutdown(Shutdown::Write);
                }
                Ok(_) => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
    }

    /// Reads once and writes once: how much was read.
    fn step(&mut self, from: &TcpStream, to: &TcpStream, seen: &mut impl FnMut(&[u8])) -> io::Result<usize> {
        BUFFER.with_borrow_mut(|buffer| {
            let count = from.try_read(buffer)?;
            let bytes = &buffer[..count];
            if count > 0 {
                if count < BUFFER_BYTES {
                    drained(from);
                }
                seen(bytes);
                let written = written(to.try_write(bytes))?;
                self.rest.extend_from_slice(&bytes[written..]);
            }
            Ok(count)
        })
    }

    fn write_rest(&mut self, context: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            ready!(to.poll_write_ready(context))?;
            let written = written(to.try_write(&self.rest))?;
            self.rest.drain(..written);
        }
        // What a slow reader made necessary is given back with the answer's end.
        if self.rest.capacity() > 0 {
            self.rest = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

/// A read that brought less than there was room for has emptied the socket: the next one need not ask the kernel until
/// epoll reports more (epoll(7) on `EPOLLET`). That the other end closed is remembered apart, and not forgotten here.
fn drained(stream: &TcpStream) {
    let nothing = || Err::<(), _>(ErrorKind::WouldBlock.into());
    let _ = stream.try_io(Interest::READABLE, nothing);
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(why) if why.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
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

    struct Scene {
        client: TcpStream,
        server: TcpStream,
        cut: oneshot::Sender<()>,
        relay: JoinHandle<(End, bool)>,
    }

    async fn scene() -> Scene {
        let ((client, near), (far, server)) = (pair().await, pair().await);
        let (cut, cutting) = oneshot::channel();
        let relay = tokio::spawn(async move {
            let tally = Tally::default();
            let mut relay = Relay::new(&near, &far, &tally);
            let cutting = async { cutting.await.unwrap_or_else(|_| panic!("never cut")) };
            (relay.run(cutting).await, relay.is_plain())
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

    #[tokio::test(start_paused = true)]
    async fn a_statement_that_nobody_answers_any_more_is_cut_within() {
        let mut scene = greeted().await;
        passes(&mut scene.client, &mut scene.server, b"COMMIT").await;
        scene.cut.send(()).unwrap();
        assert_eq!(scene.relay.await.unwrap(), (End::CutWithin, true));
    }
}
