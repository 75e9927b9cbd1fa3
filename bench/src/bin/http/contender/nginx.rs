//! nginx, and behind it what runs an application.

use std::fs;
use std::path::Path;

use anyhow::Result;
use mainstay_bench::arena::{fetched, peer, word};

use super::{application, backends, certificate};
use crate::arena::NGINX;
use crate::cases::{Case, From, Language};

/// In the order of their start.
pub fn commands(case: &Case, folder: &Path) -> Result<Vec<Vec<String>>> {
    let config = folder.join("nginx.conf");
    fs::create_dir_all(folder.join("files/static"))?;
    fs::write(folder.join("files/static/file.bin"), vec![b'x'; case.body])?;
    let own = word(folder);
    let mut listen = format!("listen {NGINX}:80;");
    if case.wire.is_encrypted() {
        certificate(folder)?;
        listen += &format!(
            " listen {NGINX}:443 ssl http2; ssl_certificate {own}/cert.pem; ssl_certificate_key {own}/key.pem;\
             ssl_session_cache shared:SSL:10m; ssl_protocols TLSv1.2 TLSv1.3;"
        );
    }
    let (kept, proxy) = (
        "proxy_http_version 1.1; proxy_set_header Connection \"\";",
        "proxy_pass http://web;\n\
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;",
    );
    let location = match case.from {
        From::Files => format!("location / {{ root {own}/files; }}"),
        From::Backends => format!("location / {{ {proxy} {kept} }}"),
        From::Cache => format!("location / {{ {proxy} {kept} proxy_cache kept; }}"),
        From::Application(Language::Python) => format!("location / {{ {proxy} }}"),
        From::Application(Language::Php) => format!(
            "root {own}/code; index index.php; location / {{ try_files $uri $uri/ /index.php?$args; }}\n\
             location ~ \\.php$ {{ include {}; fastcgi_pass web; }}",
            word(&fetched("peers/etc/nginx/fastcgi.conf")?)
        ),
    };
    let upstream = match case.from {
        // Applications' workers take one request at a time, and none from elsewhere while a connection waits.
        From::Application(_) => format!("server unix:{} fail_timeout=0;", word(&application::socket(folder))),
        _ => {
            backends(case, |_, address| format!("server {address}:8080; "))
                + "keepalive 256; keepalive_requests 1000000000;"
        }
    };
    let cache = format!("proxy_cache_path {own}/cache keys_zone=kept:10m;");
    let text = format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile 20000; user root; pid {own}/pid; error_log {own}/error.log;\n\
         events {{ worker_connections 19000; }}\n\
         http {{\n  access_log {own}/access.log combined buffer=64k flush=1s;\n  sendfile on; tcp_nopush on; tcp_nodelay on;\n\
         \x20 keepalive_timeout 75s; keepalive_requests 1000000000; server_tokens off; etag on; {cache}\n\
         \x20 open_file_cache max=1000 inactive=60s; open_file_cache_valid 30s;\n\
         \x20 client_body_temp_path {own}/b; proxy_temp_path {own}/p; fastcgi_temp_path {own}/f; uwsgi_temp_path {own}/u; scgi_temp_path {own}/s;\n\
         \x20 upstream web {{ {upstream} }}\n\
         \x20 server {{ {listen} {location} }}\n}}\n"
    );
    fs::write(&config, text)?;
    let behind = match case.from {
        From::Application(language) => Some(application::by_hand(language, case, folder)?),
        _ => None,
    };
    let (program, config) = (word(&peer("sbin/nginx")?), word(&config));
    let errors = word(&folder.join("error.log"));
    let nginx = [program, "-p".into(), own, "-e".into(), errors, "-c".into(), config];
    Ok(behind.into_iter().chain([nginx.into()]).collect())
}
