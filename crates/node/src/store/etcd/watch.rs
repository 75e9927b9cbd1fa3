//! A watch that goes on at another member, from where it was.

use std::time::Duration;

use etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::members::{failure, reason};
use super::{Etcd, revision};
use crate::store::{Error, Event, Revision};

/// Until a member says that it watches.
const BEGIN: Duration = Duration::from_secs(1);
/// Between two rounds through members of whom none watches.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a watch does not go on where it is.
enum End {
    /// Nobody listens any more.
    Unheard,
    /// What is next is forgotten, or was never there (an etcd that lost its data): the state must be read anew.
    Forgotten,
    /// The member or the way to it.
    Broken(Error),
}

struct Follower {
    etcd: Etcd,
    prefix: String,
    /// Everything up to here was told.
    told: Revision,
    events: mpsc::Sender<Event>,
    /// Whether it was said that nobody can be reached.
    lost: bool,
}

/// Tells `events` what happens below `prefix` after `after`, until nobody listens.
pub(super) async fn follow(etcd: Etcd, prefix: String, after: Revision, events: mpsc::Sender<Event>) {
    let mut follower = Follower { etcd, prefix, told: after, events, lost: false };
    while follower.round().await.is_some() {}
}

fn revision_of(message: &WatchResponse) -> Revision {
    revision(message.header().map_or(0, |header| header.revision()))
}

impl Follower {
    /// Every member once, until one watches and as long as it does. `None` when nobody listens any more.
    async fn round(&mut self) -> Option<()> {
        let members = self.etcd.members.clone();
        let mut because = Vec::new();
        for (place, member) in members.in_turn() {
            let error = match members.client(member).await {
                Ok(client) => match self.begin(client).await {
                    Ok(stream) => {
                        members.prefer(place);
                        return self.go_on(stream).await;
                    }
                    Err(error) => failure(&member.name, &error).error,
                },
                Err(failure) => failure.error,
            };
            because.push(reason(&error));
        }
        if !std::mem::replace(&mut self.lost, true) {
            self.tell(Event::Lost { because: because.join("; ") }).await?;
        }
        sleep(PAUSE).await;
        Some(())
    }

    /// Has a member watch from where we are.
    async fn begin(&self, mut client: Client) -> Result<(WatchStream, WatchResponse), etcd_client::Error> {
        let next = i64::try_from(self.told.0 + 1).unwrap_or(i64::MAX);
        let options = WatchOptions::new().with_prefix().with_start_revision(next).with_progress_notify();
        let begun = async {
            let mut stream = client.watch(self.etcd.key(&self.prefix), Some(options)).await?;
            let first = stream.message().await?;
            first.map(|first| (stream, first)).ok_or_else(|| etcd_client::Error::WatchError("ended at once".into()))
        };
        let late = || etcd_client::Error::WatchError(format!("does not watch within {BEGIN:?}"));
        timeout(BEGIN, begun).await.unwrap_or_else(|_| Err(late()))
    }

    async fn go_on(&mut self, (mut stream, first): (WatchStream, WatchResponse)) -> Option<()> {
        if std::mem::take(&mut self.lost) {
            self.tell(Event::Resumed).await?;
        }
        if revision_of(&first) < self.told && self.look_back().await? {
            return Some(());
        }
        let end = match self.heard(&first).await {
            Ok(()) => self.listen(&mut stream).await,
            Err(end) => end,
        };
        match end {
            End::Unheard => None,
            End::Forgotten => self.relist().await,
            End::Broken(error) => {
                tracing::info!("a watch goes on elsewhere: {error}");
                Some(())
            }
        }
    }

    async fn listen(&mut self, stream: &mut WatchStream) -> End {
        loop {
            // A watch that only waits is looked after by the connection's PING, and by etcd, which ends it when the member
            // loses its leader.
            match stream.message().await {
                Ok(Some(message)) => {
                    if let Err(end) = self.heard(&message).await {
                        return end;
                    }
                }
                Ok(None) => return End::Broken(Error::Unreachable("the member has ended the watch".into())),
                Err(error) => return End::Broken(Error::Unreachable(error.to_string())),
            }
        }
    }

    async fn heard(&mut self, message: &WatchResponse) -> Result<(), End> {
        if message.canceled() {
            let compacted = message.compact_revision() > 0;
            let reason = || End::Broken(Error::Unreachable(message.cancel_reason().to_owned()));
            return Err(if compacted { End::Forgotten } else { reason() });
        }
        for event in message.events() {
            let Some(kv) = event.kv() else { continue };
            let (key, entry) = self.etcd.entry(kv);
            let at = entry.changed;
            let event = match event.event_type() {
                EventType::Put => Event::Put { key, entry },
                EventType::Delete => Event::Delete { key, at },
            };
            self.tell(event).await.ok_or(End::Unheard)?;
            self.told = self.told.max(at);
        }
        // Without events it is a sign of progress (etcd API reference, WatchCreateRequest.progress_notify).
        if message.events().is_empty() && !message.created() {
            self.told = self.told.max(revision_of(message));
        }
        Ok(())
    }

    /// A member that knows less than we were told is behind, or the etcd was made anew and counts from the beginning: then
    /// the watch must begin again.
    async fn look_back(&mut self) -> Option<bool> {
        match self.etcd.listed(&self.prefix).await {
            Ok((entries, at)) if at < self.told => self.relisted(entries, at).await.map(|()| true),
            _ => Some(false),
        }
    }

    async fn relist(&mut self) -> Option<()> {
        match self.etcd.listed(&self.prefix).await {
            Ok((entries, at)) => self.relisted(entries, at).await,
            Err(_) => {
                sleep(PAUSE).await;
                Some(())
            }
        }
    }

    async fn relisted(&mut self, entries: Vec<(String, crate::store::Entry)>, at: Revision) -> Option<()> {
        self.told = at;
        self.tell(Event::Relisted { entries, at }).await
    }

    async fn tell(&self, event: Event) -> Option<()> {
        self.events.send(event).await.ok()
    }
}
