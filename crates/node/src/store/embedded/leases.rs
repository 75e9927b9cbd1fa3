//! Leases: how long each is made for stands in the file, until when it lives in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_machines::Time;
use redb::{Database, ReadableDatabase, ReadableTable};

use super::{Error, LEASES, storage};
use crate::clock::boot_time;
use crate::store::LeaseId;

/// The leases of a store.
#[derive(Default)]
pub(super) struct Leases(BTreeMap<LeaseId, (Duration, Time)>);

impl Leases {
    /// Those of the file, which all begin anew.
    pub(super) fn load(database: &Database) -> Result<Leases, Error> {
        let read = database.begin_read().map_err(storage)?;
        let kept = read.open_table(LEASES).map_err(storage)?;
        let now = boot_time();
        let mut leases = Leases::default();
        for lease in kept.iter().map_err(storage)? {
            let (id, nanos) = lease.map_err(storage)?;
            let ttl = Duration::from_nanos(nanos.value());
            leases.0.insert(LeaseId(id.value()), (ttl, now + ttl));
        }
        Ok(leases)
    }

    pub(super) fn lives(&self, lease: LeaseId) -> bool {
        self.0.contains_key(&lease)
    }

    pub(super) fn grant(&mut self, database: &Database, ttl: Duration) -> Result<LeaseId, Error> {
        let id = self.0.last_key_value().map_or(1, |(last, _)| last.0 + 1);
        let nanos = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        let write = database.begin_write().map_err(storage)?;
        write.open_table(LEASES).map_err(storage)?.insert(id, nanos).map_err(storage)?;
        write.commit().map_err(storage)?;
        self.0.insert(LeaseId(id), (ttl, boot_time() + ttl));
        Ok(LeaseId(id))
    }

    pub(super) fn renew(&mut self, lease: LeaseId) -> Result<(), Error> {
        let (ttl, until) = self.0.get_mut(&lease).ok_or(Error::LeaseEnded(lease))?;
        *until = boot_time() + *ttl;
        Ok(())
    }

    pub(super) fn remove(&mut self, database: &Database, lease: LeaseId) -> Result<(), Error> {
        let write = database.begin_write().map_err(storage)?;
        write.open_table(LEASES).map_err(storage)?.remove(lease.0).map_err(storage)?;
        write.commit().map_err(storage)?;
        self.0.remove(&lease);
        Ok(())
    }

    /// One that has ended.
    pub(super) fn ended(&self, now: Time) -> Option<LeaseId> {
        self.0.iter().find(|(_, (_, until))| *until <= now).map(|(id, _)| *id)
    }

    pub(super) fn next_end(&self) -> Time {
        self.0.values().map(|(_, until)| *until).min().unwrap_or(Time::NEVER)
    }
}
