//! Holding requests while the database's primary changes: new ones wait as they do for a free worker, those under way end.
//!
//! The SQL endpoints of this server say when ([`mainstay_site::wire::hold`]).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_http::Pool;
use mainstay_site::wire::hold::RETURN;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, sleep_until};

/// Requests are held no longer than this, whatever is said: as long as one waits for a worker at most.
const HELD_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether the last request under way has ended.
const LOOK: Duration = Duration::from_millis(2);
/// Bytes of a line: a word and a number.
const LINE_BYTES_MAX: u64 = 64;

/// Does as the endpoints say, for ever.
pub(super) async fn follow(socket: &Path, pool: &Arc<Pool>) {
    loop {
        if let Ok(stream) = UnixStream::connect(socket).await {
            listen(stream, pool).await;
            pool.hold(false);
        }
        sleep(RETURN).await;
    }
}

/// Until the endpoints go away.
async fn listen(stream: UnixStream, pool: &Arc<Pool>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader).take(LINE_BYTES_MAX);
    let (mut line, mut held) = (String::new(), None);
    loop {
        let now = tokio::select! {
            read = reader.read_line(&mut line) => match read {
                Ok(1..) => Said::of(&line),
                _ => return,
            },
            now = due(held, pool) => now,
        };
        line.clear();
        reader.set_limit(LINE_BYTES_MAX);
        match now {
            Said::Hold(revision) => {
                tracing::info!("requests are held: the database's primary changes");
                pool.hold(true);
                held = Some(Held { revision, until: Instant::now() + HELD_MAX, told: false });
            }
            Said::Release => {
                pool.hold(false);
                held = None;
            }
            Said::Quiet => {
                let Some(held) = &mut held else { continue };
                held.told = true;
                if writer.write_all(format!("quiet {}\n", held.revision).as_bytes()).await.is_err() {
                    return;
                }
            }
            Said::Nothing => {}
        }
    }
}

/// A hold in force.
#[derive(Clone, Copy)]
struct Held {
    revision: u64,
    until: Instant,
    told: bool,
}

/// What there is to do.
enum Said {
    Hold(u64),
    Release,
    Quiet,
    Nothing,
}

impl Said {
    fn of(line: &str) -> Said {
        match line.trim().split_once(' ') {
            Some(("hold", revision)) => revision.parse().map_or(Said::Nothing, Said::Hold),
            None if line.trim() == "release" => Said::Release,
            _ => Said::Nothing,
        }
    }
}

/// What a hold comes to by itself.
async fn due(held: Option<Held>, pool: &Arc<Pool>) -> Said {
    let Some(held) = held else { return std::future::pending().await };
    let quiet = async {
        while held.told || under_way(pool) > 0 {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = quiet => Said::Quiet,
        () = sleep_until(held.until) => Said::Release,
    }
}

fn under_way(pool: &Pool) -> u32 {
    pool.backends().map(|(_, figures)| figures.outstanding.load(Ordering::SeqCst)).sum()
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    fn pool() -> Arc<Pool> {
        let worker = mainstay_http::Declared {
            name: "worker 0".into(),
            weight: 1,
            spare: false,
            address: Some(mainstay_http::Address::Unix("/nonexistent".into())),
            well: true,
        };
        Pool::new(mainstay_http::Settings::default(), vec![worker])
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(10), "{what}");
            sleep(LOOK).await;
        }
    }

    #[tokio::test]
    async fn nobody_gets_a_worker_while_requests_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, pool) = (folder.path().join("hold.sock"), pool());
        let listener = UnixListener::bind(&socket).unwrap();
        let following = pool.clone();
        tokio::spawn(async move { follow(&socket, &following).await });
        let mut endpoints = listener.accept().await.unwrap().0;
        endpoints.write_all(b"release\nhold 7\n").await.unwrap();
        let mut line = [0; 8];
        endpoints.read_exact(&mut line).await.unwrap();
        assert_eq!((&line, pool.is_held()), (b"quiet 7\n", true));
        assert!(pool.is_well(), "who waits for a moment is not ill");
        endpoints.write_all(b"release\n").await.unwrap();
        until("it is released", || !pool.is_held()).await;
        endpoints.write_all(b"hold 8\n").await.unwrap();
        until("it is held again", || pool.is_held()).await;
        drop(endpoints);
        until("endpoints that are gone hold nobody", || !pool.is_held()).await;
    }

    #[tokio::test]
    async fn a_request_that_is_under_way_is_waited_for() {
        let (pool, (mut endpoints, near)) = (pool(), UnixStream::pair().unwrap());
        pool.backends().for_each(|(_, figures)| figures.outstanding.store(1, Ordering::SeqCst));
        let following = pool.clone();
        tokio::spawn(async move { listen(near, &following).await });
        endpoints.write_all(b"hold 7\n").await.unwrap();
        until("it is held", || pool.is_held()).await;
        let mut byte = [0];
        let early = tokio::time::timeout(LOOK * 10, endpoints.read(&mut byte)).await;
        assert!(early.is_err(), "quiet was said while a request is under way");
        pool.backends().for_each(|(_, figures)| figures.outstanding.store(0, Ordering::SeqCst));
        endpoints.read_exact(&mut byte).await.unwrap();
    }
}
