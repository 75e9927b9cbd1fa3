//! Telling the applications beside us to hold their requests, and the store when they are quiet
//! ([`mainstay_site::wire::hold`]).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_site::names::ServerName;
use mainstay_site::wire::hold::{HOLD, PREFIX, RETURN, quiet_key};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::leadership::RETRY;
use crate::store::{Entry, Event, Store, Write};

/// Bytes of a line: a word and a number.
const LINE_BYTES_MAX: u64 = 64;
/// Applications of one server; each has one connection.
const LISTENERS_MAX: usize = 256;

/// Until every application beside us has found us.
const GATHERS: Duration = RETURN.saturating_mul(4);

/// The hold in force, and for which one each application that listens is quiet.
struct Desk {
    hold: watch::Sender<Option<u64>>,
    quiet: Mutex<BTreeMap<u64, u64>>,
    changed: tokio::sync::Notify,
}

/// Follows the store and serves applications on `socket`, for ever.
///
/// # Errors
/// The socket cannot be made.
pub fn start(store: Store, server: ServerName, socket: &Path) -> io::Result<()> {
    let listener = listen(socket)?;
    let desk = Arc::new(Desk { hold: watch::Sender::new(None), quiet: Mutex::default(), changed: Default::default() });
    tokio::spawn(accept(listener, desk.clone()));
    tokio::spawn(report(store.clone(), quiet_key(&server), desk.clone()));
    tokio::spawn(follow(store, desk));
    Ok(())
}

/// Every application may connect, whatever its user: it can do no more than be waited for, which is bounded.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

async fn follow(store: Store, desk: Arc<Desk>) {
    let (entries, at) = loop {
        match store.list(PREFIX).await {
            Ok(listed) => break listed,
            Err(_) => sleep(RETRY).await,
        }
    };
    let held = |entries: &[(String, Entry)]| entries.iter().find(|(key, _)| key == HOLD).map(|(_, it)| it.created.0);
    desk.hold.send_replace(held(&entries));
    let mut watch = store.watch(PREFIX, at);
    loop {
        match watch.next().await {
            Event::Put { key, entry } if key == HOLD => desk.hold.send_replace(Some(entry.created.0)),
            Event::Delete { key, .. } if key == HOLD => desk.hold.send_replace(None),
            Event::Relisted { entries, .. } => desk.hold.send_replace(held(&entries)),
            // Applications release by themselves when they have held long enough.
            _ => continue,
        };
        desk.changed.notify_one();
    }
}

async fn accept(listener: UnixListener, desk: Arc<Desk>) {
    let mut next = 0;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(RETRY).await;
            continue;
        };
        let mut quiet = desk.lock();
        if quiet.len() < LISTENERS_MAX {
            next += 1;
            quiet.insert(next, 0);
            tokio::spawn(tell(stream, next, desk.clone()));
        }
    }
}

/// One application, until it goes.
async fn tell(stream: UnixStream, number: u64, desk: Arc<Desk>) {
    let (reader, mut writer) = stream.into_split();
    let heard = async {
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = String::new();
            if (&mut reader).take(LINE_BYTES_MAX).read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let quiet = line.trim().strip_prefix("quiet ").and_then(|number| number.parse().ok());
            if let Some(revision) = quiet {
                desk.lock().insert(number, revision);
                desk.changed.notify_one();
            }
        }
    };
    let told = async {
        let mut holds = desk.hold.subscribe();
        loop {
            let line = match *holds.borrow_and_update() {
                Some(revision) => format!("hold {revision}\n"),
                None => "release\n".to_owned(),
            };
            if writer.write_all(line.as_bytes()).await.is_err() || holds.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = heard => {}
        () = told => {}
    }
    desk.lock().remove(&number);
    desk.changed.notify_one();
}

/// Says in the store when everybody here is quiet.
async fn report(store: Store, key: String, desk: Arc<Desk>) {
    // Who listened to the endpoints before us is about to come.
    sleep(GATHERS).await;
    loop {
        desk.changed.notified().await;
        let Some(revision) = *desk.hold.borrow() else { continue };
        if desk.lock().values().any(|quiet| *quiet != revision) {
            continue;
        }
        let write = Write::Put { key: key.clone(), value: revision.to_string().into_bytes(), lease: None };
        if let Err(why) = store.transact(&[], &[write]).await {
            tracing::warn!(%why, "nobody will know that requests are held here");
        }
    }
}

impl Desk {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u64>> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::store::Embedded;

    async fn line(reader: &mut BufReader<&mut UnixStream>) -> String {
        let mut line = String::new();
        timeout(Duration::from_secs(10), reader.read_line(&mut line)).await.unwrap().unwrap();
        line
    }

    /// The endpoints were replaced a moment before somebody has requests held.
    #[tokio::test]
    async fn nobody_is_quiet_before_the_applications_have_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(Arc::new(Embedded::open(&folder.path().join("store")).unwrap()));
        let hold = Write::Put { key: HOLD.into(), value: Vec::new(), lease: None };
        store.transact(&[], &[hold]).await.unwrap();
        let revision = store.get(HOLD).await.unwrap().unwrap().created;
        let socket = folder.path().join("hold.sock");
        let mut watch = store.watch(&quiet_key(&"app1".into()), revision);
        start(store.clone(), "app1".into(), &socket).unwrap();
        assert!(timeout(RETURN, watch.next()).await.is_err(), "nobody was asked yet");
        let mut application = UnixStream::connect(&socket).await.unwrap();
        let mut said = line(&mut BufReader::new(&mut application)).await;
        if said == "release\n" {
            // It was there before the store had answered.
            said = line(&mut BufReader::new(&mut application)).await;
        }
        assert_eq!(said, format!("hold {revision}\n"));
        assert!(timeout(GATHERS, watch.next()).await.is_err(), "it works on something");
        application.write_all(format!("quiet {revision}\n").as_bytes()).await.unwrap();
        let event = timeout(Duration::from_secs(10), watch.next()).await.unwrap();
        assert!(matches!(event, Event::Put { .. }), "{event:?}");
    }

    #[tokio::test]
    async fn quiet_is_who_has_asked_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(Arc::new(Embedded::open(&folder.path().join("store")).unwrap()));
        let socket = folder.path().join("hold.sock");
        start(store.clone(), "app1".into(), &socket).unwrap();
        let mut application = UnixStream::connect(&socket).await.unwrap();
        assert_eq!(line(&mut BufReader::new(&mut application)).await, "release\n");
        let mut watch = store.watch(&quiet_key(&"app1".into()), crate::store::Revision(0));
        let hold = Write::Put { key: HOLD.into(), value: Vec::new(), lease: None };
        store.transact(&[], &[hold]).await.unwrap();
        let revision = store.get(HOLD).await.unwrap().unwrap().created;
        assert_eq!(line(&mut BufReader::new(&mut application)).await, format!("hold {revision}\n"));
        application.write_all(format!("quiet {revision}\n").as_bytes()).await.unwrap();
        let event = timeout(Duration::from_secs(10), watch.next()).await.unwrap();
        let Event::Put { entry, .. } = event else { panic!("{event:?}") };
        assert_eq!(entry.value, revision.to_string().into_bytes());
        store.transact(&[], &[Write::Delete(HOLD.into())]).await.unwrap();
        assert_eq!(line(&mut BufReader::new(&mut application)).await, "release\n");
    }
}
