//! The smallest browser that is one: a connection that is kept, cookies, forms, and nothing sent twice.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::What;
use crate::scenario::Door;

/// Longer than any hold and any failover: who gave up earlier would count himself.
const ANSWER: Duration = Duration::from_secs(30);
/// Bytes of a line of the head, and of a page.
const LINE_BYTES_MAX: u64 = 16 << 10;
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// A visitor's.
pub(super) struct Browser {
    door: Door,
    connection: Option<BufReader<TcpStream>>,
    cookies: BTreeMap<String, String>,
}

/// The head of an answer, as far as it matters.
#[derive(Default)]
struct Head {
    status: u16,
    closes: bool,
    chunked: bool,
    length: Option<u64>,
    cookies: Vec<(String, String)>,
}

impl Browser {
    pub(super) fn new(door: Door) -> Browser {
        Browser { door, connection: None, cookies: BTreeMap::new() }
    }

    /// One request; why it is none that the visitor is content with.
    pub(super) async fn visit(&mut self, what: &What) -> Result<(), String> {
        let kept = self.connection.take();
        match timeout(ANSWER, self.exchange(kept, what)).await {
            Ok(Ok((head, connection))) => {
                self.connection = (!head.closes).then_some(connection);
                self.cookies.extend(head.cookies);
                if head.status == what.expects() { Ok(()) } else { Err(format!("it was answered {}", head.status)) }
            }
            Ok(Err(why)) => Err(why.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        }
    }

    async fn exchange(
        &self,
        kept: Option<BufReader<TcpStream>>,
        what: &What,
    ) -> std::io::Result<(Head, BufReader<TcpStream>)> {
        let mut connection = match kept.filter(is_open) {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(self.door.address).await?),
        };
        connection.get_mut().write_all(self.request(what).as_bytes()).await?;
        let head = head(&mut connection).await?;
        body(&mut connection, &head).await?;
        Ok((head, connection))
    }

    fn request(&self, what: &What) -> String {
        let (line, body) = match what {
            What::Read => ("GET / HTTP/1.1", String::new()),
            What::File => ("GET /static/style.css HTTP/1.1", String::new()),
            What::Post(number) => ("POST /messages HTTP/1.1", format!("name=Ada&text={}", What::text(*number))),
        };
        let host = &self.door.host;
        let mut request = format!("{line}\r\nHost: {host}\r\nAccept: */*\r\n");
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        if !body.is_empty() {
            request += &format!(
                "Origin: http://{host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        request + "\r\n" + &body
    }
}

/// Whether the other end has not closed it while nothing was asked.
fn is_open(connection: &BufReader<TcpStream>) -> bool {
    let read = connection.get_ref().try_read(&mut [0]);
    matches!(read, Err(why) if why.kind() == std::io::ErrorKind::WouldBlock)
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned())
}

async fn line(connection: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if connection.take(LINE_BYTES_MAX).read_line(&mut line).await? == 0 {
        return Err(bad("the connection was closed before the answer was whole"));
    }
    Ok(line)
}

async fn head(connection: &mut BufReader<TcpStream>) -> std::io::Result<Head> {
    let first = line(connection).await?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| bad("no status line"))?;
    let mut head = Head { status, ..Head::default() };
    loop {
        let text = line(connection).await?;
        let Some((name, value)) = text.trim_end().split_once(':') else { return Ok(head) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "connection" => head.closes = value.eq_ignore_ascii_case("close"),
            "transfer-encoding" => head.chunked = true,
            "content-length" => head.length = value.parse().ok(),
            "set-cookie" => {
                let cookie = value.split(';').next().and_then(|cookie| cookie.split_once('='));
                head.cookies.extend(cookie.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            _ => {}
        }
    }
}

async fn body(connection: &mut BufReader<TcpStream>, head: &Head) -> std::io::Result<()> {
    if !head.chunked {
        let length = head.length.ok_or_else(|| bad("an answer without a length"))?;
        return skip(connection, length).await;
    }
    loop {
        let size = line(connection).await?;
        let size = u64::from_str_radix(size.trim_end(), 16).map_err(|_| bad("no size of a chunk"))?;
        skip(connection, size + 2).await?;
        if size == 0 {
            return Ok(());
        }
    }
}

async fn skip(connection: &mut BufReader<TcpStream>, length: u64) -> std::io::Result<()> {
    if length > PAGE_BYTES_MAX {
        return Err(bad("a page without end"));
    }
    let read = tokio::io::copy(&mut connection.take(length), &mut tokio::io::sink()).await?;
    if read == length { Ok(()) } else { Err(bad("the connection was closed before the answer was whole")) }
}
