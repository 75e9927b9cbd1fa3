//! Where data is kept: databases, the endpoints that lead to them, caches, and the store by which servers agree.

use std::net::SocketAddr;

use super::super::redis::redis;
use super::super::{Config, Database, DatabaseRole, Fellow, Flow, Listen, Member, Service, Sql, Store, Transport};
use super::{Tiers, cache_flow, flow, loopback, schema, service, store_flow};
use crate::model::{Reads, Server, Site};
use crate::names::{Role, SQL_USER, ServerName};
use crate::votes::votes;

impl Tiers<'_> {
    /// Nothing of it is kept: see `node::cache`.
    pub(super) fn cache(&self, server: &Server) -> Service {
        let config = redis(self.site, server);
        let follows = config.follows.iter().map(|(name, address)| cache_flow(name, *address, "replication"));
        let talks = follows.collect();
        service("cache", Role::Cache, Vec::new(), talks, Config::Cache(config))
    }

    pub(super) fn sql(&self, server: &Server) -> Service {
        let own = loopback(server.address);
        let listen = |name: &str, port| Listen {
            name: name.into(),
            transport: Transport::Tcp,
            address: SocketAddr::new(own, port),
            per_core: false,
            floating: false,
        };
        let at = |database: &&Server| (database.name.clone(), self.database_address(database));
        let config = Sql {
            primary: at(&self.databases[0]),
            replicas: self.databases[1..].iter().map(at).collect(),
            store: self.endpoints(),
            max_lag_ms: self.site.database.as_ref().map_or_else(Reads::default, |it| it.reads).max_lag.as_millis()
                as u64,
        };
        let databases = self.databases.iter().map(|it| flow(it, "database", self.database_address(it), "MySQL"));
        let talks = databases.chain(self.votes()).collect();
        let ports = &self.site.ports;
        let listens = [("writer", ports.sql_writer), ("reader", ports.sql_reader), ("fresh", ports.sql_fresh)];
        let listens = listens.into_iter().map(|(name, port)| listen(name, port)).collect();
        Service { user: SQL_USER, ..service("sql", Role::App, listens, talks, Config::Sql(config)) }
    }

    /// The member of the store on `server`, if it has a vote.
    pub(super) fn store(&self, server: &Server) -> Option<Service> {
        let members = store_members(self.site);
        members.iter().find(|member| member.server == server.name)?;
        let others = members.iter().filter(|member| member.server != server.name);
        let talks = others.map(|member| store_flow(&member.server, member.peer, "Raft")).collect();
        let databases = self.databases.iter().map(|server| server.name.clone()).collect();
        let former = self.site.former_voters.iter().filter_map(|name| self.site.server(name));
        let former = former.map(|server| member(self.site, server)).collect();
        let config = Store { members, former, databases, data: "data/store/etcd".into() };
        let writes = vec!["data/store".into()];
        Some(Service { writes, ..service("store", Role::Store, Vec::new(), talks, Config::Store(config)) })
    }

    /// Where the servers agree: their own members, or another etcd.
    pub(super) fn endpoints(&self) -> Vec<(ServerName, SocketAddr)> {
        if let Some(foreign) = &self.site.store {
            let named =
                foreign.endpoints.iter().map(|address| (ServerName(format!("etcd at {}", address.ip())), *address));
            return named.collect();
        }
        store_members(self.site).into_iter().map(|member| (member.server, member.client)).collect()
    }

    /// To every member of the store that is a server of the site.
    pub(super) fn votes(&self) -> impl Iterator<Item = Flow> {
        store_members(self.site).into_iter().map(|member| store_flow(&member.server, member.client, "etcd"))
    }

    fn database_address(&self, server: &Server) -> SocketAddr {
        SocketAddr::new(server.address, self.site.ports.database)
    }

    /// Where one without data is given a copy.
    fn copies(&self, server: &Server) -> Listen {
        let address = SocketAddr::new(server.address, self.site.ports.copies);
        Listen { name: "copies".into(), transport: Transport::Tcp, address, per_core: false, floating: false }
    }

    /// Every database server, for each other.
    fn fellows(&self) -> Vec<Fellow> {
        let ports = &self.site.ports;
        let servers = self.site.with_role(Role::Database);
        let fellow = |server: &Server| Fellow {
            server: server.name.clone(),
            server_id: self.site.number(&server.name).unwrap_or_default(),
            address: self.database_address(server),
            replication: SocketAddr::new(server.address, ports.replication),
            copies: SocketAddr::new(server.address, ports.copies),
        };
        servers.map(fellow).collect()
    }

    pub(super) fn database(&self, server: &Server) -> Service {
        let primary = self.databases[0];
        let is_primary = primary.name == server.name;
        let role = if is_primary {
            DatabaseRole::Primary
        } else {
            DatabaseRole::Replica { of: primary.name.clone(), address: self.database_address(primary) }
        };
        let replicates = flow(primary, "database", self.database_address(primary), "replication");
        let talks = (!is_primary).then_some(replicates).into_iter().chain(self.votes()).collect();
        // The last is a replica as long as there are any and nobody has died: a backup then takes nothing from the primary.
        let last = self.databases.last().is_some_and(|last| last.name == server.name);
        let declared = self.site.database.as_ref();
        let backup = declared.and_then(|it| it.backup.as_ref()).filter(|_| last);
        let config = Database {
            address: self.database_address(server),
            server_id: self.site.number(&server.name).unwrap_or_default(),
            role,
            durability: declared.map_or_else(Default::default, |it| it.durability),
            replicas: self.databases.len() - 1,
            schemas: self.site.apps.iter().map(schema).collect(),
            data: "data/database/mariadb".into(),
            store: self.endpoints(),
            members: self.fellows(),
            failover: declared.map_or_else(Default::default, |it| it.failover),
            semi_sync: declared.map_or_else(Default::default, |it| it.semi_sync),
            lease_ms: declared.map_or_else(Default::default, |it| it.lease).0.as_millis() as u64,
            applications: self.site.with_role(Role::App).map(|server| server.name.clone()).collect(),
            backup: backup.cloned(),
            binlog_keep: declared.map_or_else(Default::default, |it| it.binlog_keep),
        };
        let folder = backup.map(|backup| backup.to.clone());
        let writes = ["data/database".into()].into_iter().chain(folder).collect();
        let listens = if self.databases.len() > 1 { vec![self.copies(server)] } else { Vec::new() };
        Service { writes, ..service("database", Role::Database, listens, talks, Config::Database(config)) }
    }
}

/// The members of the store that the servers of `site` keep.
pub fn store_members(site: &Site) -> Vec<Member> {
    votes(site).into_iter().map(|server| member(site, server)).collect()
}

fn member(site: &Site, server: &Server) -> Member {
    let at = |port| SocketAddr::new(server.address, port);
    Member { server: server.name.clone(), client: at(site.ports.store_client), peer: at(site.ports.store_peer) }
}
