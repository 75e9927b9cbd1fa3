//! What whoever runs a member asks of the others: who they are, how they are, and to be let in.

use std::time::Duration;

use etcd_client::MemberAddOptions;
use mainstay_site::names::ServerName;
use tokio::time::timeout;

use super::Etcd;
use super::members::failure;
use crate::store::Error;

/// Until one member must have said how it is. Less than a second, so that who asks each second is never late.
const SAYS: Duration = Duration::from_millis(800);

/// A member as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Chosen by etcd.
    pub id: u64,
    /// Its server's name; empty until it has started for the first time.
    pub name: String,
    /// Where the others reach it: `https://10.80.0.11:2380`.
    pub peers: Vec<String>,
}

/// How a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its own number.
    pub id: u64,
    /// Whom it follows, itself if it leads; 0 if nobody.
    pub leader: u64,
    /// Bytes of its data on the disk.
    pub size_bytes: u64,
    /// etcd's version.
    pub version: String,
    /// What it says is wrong: an alarm.
    pub errors: Vec<String>,
}

impl Etcd {
    /// Every member that the etcd has, started or not.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn roster(&self) -> Result<Vec<Listed>, Error> {
        let list = self.members.ask(|mut client| async move { client.member_list().await }).await?;
        let listed = |member: &etcd_client::Member| Listed {
            id: member.id(),
            name: member.name().to_owned(),
            peers: member.peer_urls().to_vec(),
        };
        Ok(list.members().iter().map(listed).collect())
    }

    /// Lets a member in that the others will reach at `peer`.
    ///
    /// # Errors
    /// [`Error::Refused`] while a majority of those that are in does not answer.
    pub async fn let_in(&self, peer: &str) -> Result<(), Error> {
        let added = self.members.tell(|mut client| async move {
            // A learner has no vote until somebody promotes it: one more thing to be done, and to be left undone.
            client.member_add([peer], None::<MemberAddOptions>).await
        });
        added.await.map(drop)
    }

    /// Puts a member out for good.
    ///
    /// # Errors
    /// As [`Etcd::let_in`].
    pub async fn put_out(&self, id: u64) -> Result<(), Error> {
        self.members.tell(|mut client| async move { client.member_remove(id).await }).await.map(drop)
    }

    /// How each member is, in the order in which this store knows them.
    pub async fn health(&self) -> Vec<(ServerName, Result<Health, Error>)> {
        let mut asked = tokio::task::JoinSet::new();
        for place in 0..self.members.count() {
            let members = self.members.clone();
            asked.spawn(async move {
                let member = members.member(place);
                let answer = timeout(SAYS, async {
                    let mut client = members.client(member).await.map_err(|failure| failure.error)?;
                    client.status().await.map_err(|error| failure(&member.name, &error).error)
                });
                let late = Err(Error::Unreachable(format!("{} does not answer within {SAYS:?}", member.name)));
                (place, member.name.clone(), answer.await.unwrap_or(late).map(|status| health(&status)))
            });
        }
        let mut all = asked.join_all().await;
        all.sort_by_key(|(place, ..)| *place);
        all.into_iter().map(|(_, name, health)| (name, health)).collect()
    }

    /// Has the member `leader`, which must lead, hand that over to `to`.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not lead, others if that takes too long.
    pub async fn hand_over(&self, leader: &ServerName, to: u64) -> Result<(), Error> {
        let place = (0..self.members.count()).find(|place| self.members.member(*place).name == *leader);
        let member = self.members.member(place.unwrap_or(0));
        let mut client = self.members.client(member).await.map_err(|failure| failure.error)?;
        let done = timeout(Duration::from_secs(2), client.move_leader(to)).await;
        match done {
            Ok(done) => done.map(drop).map_err(|error| failure(&member.name, &error).error),
            Err(_) => Err(Error::Unknown(format!("{leader} has not handed over within 2 s"))),
        }
    }
}

fn health(status: &etcd_client::StatusResponse) -> Health {
    Health {
        id: status.header().map_or(0, |header| header.member_id()),
        leader: status.leader(),
        size_bytes: u64::try_from(status.db_size()).unwrap_or(0),
        version: status.version().to_owned(),
        errors: status.errors().to_vec(),
    }
}
