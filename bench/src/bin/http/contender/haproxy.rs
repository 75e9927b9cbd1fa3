//! HAProxy. It can log to a syslog server alone; ours takes the lines and forgets them.

use std::fs;
use std::path::Path;

use anyhow::Result;
use mainstay_bench::arena::{peer, word};

use super::{backends, certificate};
use crate::arena::HAPROXY;
use crate::cases::{Case, From};

pub fn command(case: &Case, folder: &Path) -> Result<Vec<String>> {
    let config = folder.join("haproxy.cfg");
    let port = if case.from == From::Cache { 8000 } else { 8080 };
    let servers = backends(case, |number, address| format!("  server web{number} {address}:{port} check inter 1s\n"));
    let tls = match case.wire.is_encrypted() {
        true => {
            certificate(folder)?;
            format!("  bind {HAPROXY}:443 ssl crt {}/both.pem alpn h2,http/1.1\n", word(folder))
        }
        false => String::new(),
    };
    let (store, hit) = match case.from {
        From::Cache => (
            "cache kept\n  total-max-size 64\n  max-object-size 100000\n  max-age 3600\n",
            "  http-request cache-use kept\n  http-response cache-store kept\n",
        ),
        _ => ("", ""),
    };
    let text = format!(
        "global\n  nbthread 1\n  maxconn 9400\n  log {HAPROXY}:5140 local0\n\
         defaults\n  mode http\n  log global\n  option httplog\n  option forwardfor\n  option http-keep-alive\n  http-reuse always\n\
         \x20 timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  timeout http-request 10s\n  timeout http-keep-alive 60s\n\
         {store}\
         frontend front\n  bind {HAPROXY}:80\n{tls}  unique-id-format %[uuid()]\n  unique-id-header X-Request-Id\n\
         \x20 http-request set-header X-Forwarded-Proto http\n  default_backend web\n\
         backend web\n  balance roundrobin\n  option httpchk GET /health\n{hit}{servers}"
    );
    fs::write(&config, text)?;
    Ok(vec![word(&peer("sbin/haproxy")?), "-db".into(), "-f".into(), word(&config)])
}
