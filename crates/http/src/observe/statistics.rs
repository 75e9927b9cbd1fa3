//! HAProxy's statistics in CSV (management guide of HAProxy 2.6, § 9.1), for collectors that know no other: one row for the
//! front, one for each backend (their `server`), one for each pool (their `backend`).
//!
//! What HAProxy leaves empty is empty. So is what is not counted here: bytes of requests, errors of connecting apart from others,
//! retries by server. `bout` counts bodies, without heads. Highest values are those of samples taken each second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_machines::health::State;

use super::Scene;
use super::samples::Of;
use crate::config::Config;
use crate::pool::{Pool, Standing};

/// The first line of HAProxy 2.6, as Debian builds it; each line ends with a comma.
pub(super) const HEADER: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,\
wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,\
rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,\
req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,\
agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,\
agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,\
cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,\
need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,-,ssl_sess,ssl_reused_sess,\
ssl_failed_handshake,h2_headers_rcvd,h2_data_rcvd,h2_settings_rcvd,h2_rst_stream_rcvd,h2_goaway_rcvd,\
h2_detected_conn_protocol_errors,h2_detected_strm_protocol_errors,h2_rst_stream_resp,h2_goaway_resp,h2_open_connections,\
h2_backend_open_streams,h2_total_connections,h2_backend_total_streams,h1_open_connections,h1_open_streams,\
h1_total_connections,h1_total_streams,h1_bytes_in,h1_bytes_out,h1_spliced_bytes_in,h1_spliced_bytes_out,";

const CLASSES: [&str; 5] = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"];

/// A row by its columns; what is not set is empty.
struct Row(BTreeMap<&'static str, String>);

impl Row {
    /// `kind` as in the column `type`; `proxy` and `server` are HAProxy's ids, from 1.
    fn new(names: [&str; 2], kind: u8, proxy: usize, server: usize) -> Row {
        let mut row = Row(BTreeMap::new());
        let [proxy_name, server_name] = names;
        row.text("pxname", proxy_name);
        row.text("svname", server_name);
        row.text("mode", "http");
        row.text("-", "-");
        for (column, value) in [("type", kind.into()), ("pid", 1), ("iid", proxy as u64), ("sid", server as u64)] {
            row.number(column, value);
        }
        row
    }

    /// As RFC 4180 § 2 quotes.
    fn text(&mut self, column: &'static str, value: &str) {
        let odd = value.contains([',', '"', '\n', '\r']);
        self.0.insert(column, if odd { format!("\"{}\"", value.replace('"', "\"\"")) } else { value.to_owned() });
    }

    fn number(&mut self, column: &'static str, value: u64) {
        self.0.insert(column, value.to_string());
    }

    fn numbers(&mut self, values: &[(&'static str, u64)]) {
        values.iter().for_each(|(column, value)| self.number(column, *value));
    }

    fn classes(&mut self, answers: &[u64; 5]) {
        CLASSES.iter().zip(answers).for_each(|(column, answers)| self.number(column, *answers));
        self.number("hrsp_other", 0);
    }

    fn write(&self, out: &mut String) {
        for column in columns() {
            out.push_str(self.0.get(column).map_or("", String::as_str));
            out.push(',');
        }
        out.push('\n');
    }
}

fn columns() -> impl Iterator<Item = &'static str> {
    HEADER.trim_start_matches("# ").trim_end_matches(',').split(',')
}

/// The whole page.
pub(super) fn text(scene: &Scene, config: &Config) -> String {
    let mut out = format!("{HEADER}\n");
    front(scene, config).write(&mut out);
    for (place, pool) in Scene::pools(config).into_iter().enumerate() {
        pool_rows(scene, pool, place + 2).iter().for_each(|row| row.write(&mut out));
    }
    // HAProxy ends its page with an empty line.
    out.push('\n');
    out
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn front(scene: &Scene, config: &Config) -> Row {
    let name = config.via.split('=').next().unwrap_or_default();
    let (counters, sums) = (&scene.counters, scene.counters.lanes.sums());
    let (connections, requests) = (scene.samples.of(&Of::Connections), scene.samples.of(&Of::Requests));
    let mut row = Row::new([name, "FRONTEND"], 0, 1, 0);
    row.text("status", "OPEN");
    row.numbers(&[
        ("scur", load(&counters.open)),
        ("smax", connections.now_max),
        ("slim", config.limits.connections_max as u64),
        ("stot", load(&counters.connections)),
        ("bout", sums.bytes),
        ("dreq", load(&counters.rate_limited)),
        ("dresp", 0),
        ("ereq", counters.refusals().map(|(_, refused)| refused).sum()),
        ("rate", connections.rate),
        ("rate_lim", 0),
        ("rate_max", connections.rate_max),
        ("req_rate", requests.rate),
        ("req_rate_max", requests.rate_max),
        ("req_tot", sums.requests()),
        ("cli_abrt", load(&counters.client_aborts)),
        ("conn_rate", connections.rate),
        ("conn_rate_max", connections.rate_max),
        ("conn_tot", load(&counters.connections)),
        ("dcon", load(&counters.turned_away) + load(&counters.crowded)),
        ("dses", 0),
        ("eint", load(&counters.panics)),
        ("ssl_sess", load(&counters.tls_full) + load(&counters.tls_resumed)),
        ("ssl_reused_sess", load(&counters.tls_resumed)),
        ("ssl_failed_handshake", load(&counters.tls_failed)),
    ]);
    row.classes(&sums.answers);
    row
}

/// The backends, then the pool.
fn pool_rows(scene: &Scene, pool: &Arc<Pool>, proxy: usize) -> Vec<Row> {
    let (seen, standings) = (scene.seen(pool), pool.standings());
    let mut rows = Vec::new();
    let mut sums = Sums::default();
    for (backend, ((name, figures), standing)) in pool.backends().zip(&standings).enumerate() {
        let mut row = Row::new([pool.name(), name], 2, proxy, backend + 1);
        let sample = scene.samples.of(&Of::Backend(pool.name().into(), name.into()));
        let answers = figures.answers.each_ref().map(load);
        let (given, bytes, failures) = (load(&figures.requests), load(&figures.bytes), load(&figures.failures));
        let outstanding = u64::from(figures.outstanding.load(Ordering::Relaxed));
        row.numbers(&[
            ("qcur", 0),
            ("scur", outstanding),
            ("smax", sample.now_max),
            ("slim", pool.requests_max().into()),
            ("stot", given),
            ("lbtot", given),
            ("bout", bytes),
            ("eresp", failures),
            ("weight", standing.weight.into()),
            ("uweight", standing.weight.into()),
            ("act", u64::from(!standing.spare)),
            ("bck", u64::from(standing.spare)),
            ("rate", sample.rate),
            ("rate_max", sample.rate_max),
            ("req_tot", given),
        ]);
        row.classes(&answers);
        row.text("status", status(standing, seen.get(backend).map(|seen| seen.state)));
        if let Some(address) = &standing.address {
            row.text("addr", &address.to_string());
        }
        if let Some(seen) = seen.get(backend) {
            row.number("lastchg", seen.since.elapsed().as_secs());
            row.text("last_chk", &seen.because);
        }
        sums.add(standing, [given, bytes, failures, outstanding], &answers);
        rows.push(row);
    }
    rows.push(sums.row(scene, pool, proxy));
    rows
}

/// In HAProxy's words.
fn status(standing: &Standing, checked: Option<State>) -> &'static str {
    match checked {
        _ if standing.draining => "DRAIN",
        Some(State::Unknown) => "DOWN",
        _ if !standing.serves => "DOWN",
        Some(_) => "UP",
        None => "no check",
    }
}

/// What a pool's row adds up.
#[derive(Default)]
struct Sums {
    requests: u64,
    bytes: u64,
    failures: u64,
    outstanding: u64,
    answers: [u64; 5],
    weight: u64,
    active: u64,
    spare: u64,
}

impl Sums {
    fn add(&mut self, standing: &Standing, [requests, bytes, failures, outstanding]: [u64; 4], answers: &[u64; 5]) {
        self.requests += requests;
        self.bytes += bytes;
        self.failures += failures;
        self.outstanding += outstanding;
        self.answers.iter_mut().zip(answers).for_each(|(sum, answers)| *sum += answers);
        if standing.serves {
            self.weight += u64::from(standing.weight);
            *(if standing.spare { &mut self.spare } else { &mut self.active }) += 1;
        }
    }

    fn row(&self, scene: &Scene, pool: &Arc<Pool>, proxy: usize) -> Row {
        let sample = scene.samples.of(&Of::Pool(pool.name().into()));
        let mut row = Row::new([pool.name(), "BACKEND"], 1, proxy, 0);
        row.text("status", if pool.is_well() { "UP" } else { "DOWN" });
        row.numbers(&[
            ("qcur", pool.waiting().into()),
            ("scur", self.outstanding),
            ("smax", sample.now_max),
            ("stot", self.requests),
            ("lbtot", self.requests),
            ("req_tot", self.requests),
            ("bout", self.bytes),
            ("eresp", self.failures),
            ("weight", self.weight),
            ("uweight", self.weight),
            ("act", self.active),
            ("bck", self.spare),
            ("rate", sample.rate),
            ("rate_max", sample.rate_max),
            ("lastchg", scene.since.elapsed().as_secs()),
        ]);
        row.classes(&self.answers);
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_column_and_commas_are_quoted() {
        let columns: Vec<&str> = columns().collect();
        assert_eq!(columns.len(), 128);
        let (scene, config) = (
            Scene::new(Arc::default(), tokio::sync::watch::channel(Vec::new()).1),
            Config { via: "web=w1".into(), ..Config::default() },
        );
        let row = front(&scene, &config);
        assert!(row.0.keys().all(|column| columns.contains(column)), "{:?}", row.0);
        let mut row = Row::new(["a,b", "c\"d"], 2, 1, 1);
        row.text("last_chk", "plain");
        let mut out = String::new();
        row.write(&mut out);
        assert!(out.starts_with("\"a,b\",\"c\"\"d\",,"), "{out}");
    }
}
