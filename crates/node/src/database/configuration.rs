//! MariaDB's configuration, made from the plan.

use mainstay_site::plan;

use super::places::Places;

/// How long a commit waits for a replica before it goes on without, in milliseconds. Nobody promotes a replica by
/// itself yet, so waiting longer would protect nothing and hang the site; once there is an election this must become
/// "for ever", since a commit that stops waiting is acknowledged unreplicated.
pub const SEMI_SYNC_TIMEOUT_MS: u32 = 1_000;

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
/// - `max_connect_errors`: the SQL endpoints' connections all come from few addresses, which a hundred clients that
///   hang up early would otherwise get blocked.
/// - `binlog_expire_logs_seconds = 0`: a replica starts from the beginning of the log, so no part may be missing until
///   replicas can be cloned. The size is in the report.
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
log_slave_updates = 1
relay_log = relay
sync_relay_log = 1
gtid_strict_mode = 1
skip_slave_start = 1
slave_net_timeout = 4

rpl_semi_sync_slave_enabled = 1
rpl_semi_sync_master_enabled = 0
rpl_semi_sync_master_wait_point = AFTER_SYNC

innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = 64M
innodb_log_file_size = 48M
key_buffer_size = 1M
aria_pagecache_buffer_size = 8M
performance_schema = OFF
table_open_cache = 400

skip_name_resolve = 1
max_connect_errors = 4294967295
back_log = 256
local_infile = 0
character_set_server = utf8mb4
collation_server = utf8mb4_unicode_ci
";

/// The text of `my.cnf`.
pub fn render(config: &plan::Database, places: &Places) -> String {
    format!(
        "{FIXED}\n\
         server_id = {}\n\
         bind_address = {}\n\
         port = {}\n\
         max_connections = {CONNECTIONS_MAX}\n\
         rpl_semi_sync_master_timeout = {SEMI_SYNC_TIMEOUT_MS}\n\
         datadir = {}\n\
         socket = {}\n\
         pid_file = {}\n",
        config.server_id,
        config.address.ip(),
        config.address.port(),
        places.data.display(),
        places.socket.display(),
        places.socket.with_extension("pid").display(),
    )
}
