//! MariaDB's configuration, made from the plan.

use mainstay_site::plan;

use super::mariadb;
use super::places::Places;

/// How long a commit waits for a replica before it goes on without, in milliseconds, where there is no store and so nobody
/// promotes a replica by itself: waiting longer would protect nothing and hang the site.
pub const SEMI_SYNC_TIMEOUT_MS: u32 = 1_000;

/// "For ever", where others may be promoted: a year. A commit that stops waiting is acknowledged though no replica has it.
const FOR_EVER_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// Connections at once on the replicas' port: each replica has one, and for a moment two when it comes again. The same however
/// many there are: a site that grows by a database must not restart the others'.
const REPLICAS_MAX: usize = 64;

/// Client connections at once. Each costs about 0.3 MB when used; the SQL endpoints bound themselves below it.
const CONNECTIONS_MAX: u32 = 500;

/// Everything but the paths and numbers of this server.
///
/// - `read_only` is in every file: a server takes writes only after it was looked at.
/// - `rpl_semi_sync_slave_enabled` must be in the file: a replica restarted without it replays but never acknowledges.
///   The primary's side is switched at run time, or a replica would wait for replicas of its own.
/// - `AFTER_SYNC`: with the default, others see rows that no replica has.
/// - `skip_slave_start`: a start throws away what was received and not applied; `machines::database` says when it may.
/// - `sync_*`, `innodb_flush_log_at_trx_commit`: what was acknowledged survives a power cut (the default of
///   `sync_relay_log` is 10000 events).
/// - `rpl_semi_sync_slave_kill_conn_timeout`: a receiving thread that ends says so to its source, and waits for one that has
///   vanished, by default 5 s.
/// - `max_connect_errors`: the SQL endpoints' connections all come from few addresses, which a hundred clients that
///   hang up early would otherwise get blocked.
/// - `binlog_expire_logs_seconds = 0`: old logs are deleted by `upkeep::purge`, which knows who still needs them.
/// - `max_binlog_size`: what is written into one log stays as long as its last transaction must; with the default, 1 GiB, a small
///   site would keep all of its first year.
/// - `max_allowed_packet = 1G`, the most there is: a restore and a rescue write a row as a statement, which is twice as long and more, and
///   one that was taken must be taken again. A connection's buffer grows only as far as it needs.
/// - Memory is for a small server: 64 MB of pages, no performance schema. MariaDB touches the pool page by page, so an
///   idle server stays well below it.
const FIXED: &str = "\
# Made by Mainstay at every start; edits are lost.
[mariadbd]
read_only = 1

log_bin = binlog
binlog_format = ROW
sync_binlog = 1
binlog_expire_logs_seconds = 0
max_binlog_size = 64M
log_slave_updates = 1
relay_log = relay
sync_relay_log = 1
gtid_strict_mode = 1
skip_slave_start = 1
slave_net_timeout = 4

rpl_semi_sync_slave_enabled = 1
rpl_semi_sync_master_enabled = 0
rpl_semi_sync_master_wait_point = AFTER_SYNC
rpl_semi_sync_master_wait_no_slave = 1
rpl_semi_sync_slave_kill_conn_timeout = 1

innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = 64M
innodb_log_file_size = 48M
key_buffer_size = 1M
aria_pagecache_buffer_size = 8M
performance_schema = OFF
table_open_cache = 400

skip_name_resolve = 1
max_connect_errors = 4294967295
max_allowed_packet = 1G
back_log = 256
local_infile = 0
character_set_server = utf8mb4
collation_server = utf8mb4_unicode_ci
";

/// The text of `my.cnf`.
pub fn render(config: &plan::Database, places: &Places) -> String {
    let wait_ms = if config.store.is_empty() { u64::from(SEMI_SYNC_TIMEOUT_MS) } else { FOR_EVER_MS };
    format!(
        "{FIXED}{}\n\
         server_id = {}\n\
         bind_address = {}\n\
         port = {}\n\
         max_connections = {CONNECTIONS_MAX}\n\
         rpl_semi_sync_master_timeout = {wait_ms}\n\
         datadir = {}\n\
         socket = {}\n\
         pid_file = {}\n",
        replicas_port(config),
        mariadb::starts_as(config),
        config.address.ip(),
        config.address.port(),
        places.data.display(),
        places.socket.display(),
        places.socket.with_extension("pid").display(),
    )
}

/// Where the servers agree on who leads, replicas have a port of their own: the clients' one is closed to a leader that may not
/// lead any more (`node::fence`).
fn replicas_port(config: &plan::Database) -> String {
    let own = config.members.iter().find(|member| member.server_id == config.server_id);
    match own {
        Some(own) if !config.store.is_empty() => {
            format!("\nextra_port = {}\nextra_max_connections = {}\n", own.replication.port(), REPLICAS_MAX)
        }
        _ => String::new(),
    }
}
