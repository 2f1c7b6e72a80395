//! The metrics over HTTP: `GET /metrics` on a loopback address or a socket of this user's own.
//!
//! There are few clients, and the page is another for each: so a client has a thread of its own, of
//! which there are at most [`CLIENTS`], and [`PATIENCE`] for everything. The small servers that are
//! maintained (`tiny_http`, and what is built on it) limit neither time nor the length of a request;
//! `hyper` does, but brings an asynchronous runtime for this. So `httparse`, its parser, reads the
//! request, and the limits are kept here.

mod address;

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub(crate) use address::{Address, Listener};

/// Clients at a time; others are told to try again later.
const CLIENTS: usize = 64;
/// A client's time, for all that it sends and receives.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request that is read, and the most headers.
const REQUEST: usize = 8 * 1024;
const HEADERS: usize = 64;
/// What is read and thrown away of a client that sends more, so that the answer reaches it.
const SURPLUS: u64 = 1024 * 1024;

/// A connection of either kind.
pub(crate) trait Socket: Read + Write + Send + Sized + 'static {
    /// Whether somebody else's web page may have sent a browser here.
    const HAS_BROWSERS: bool;
    fn limit(&self, time: Duration) -> io::Result<()>;
    fn end(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    const HAS_BROWSERS: bool = true;

    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Socket for UnixStream {
    const HAS_BROWSERS: bool = false;

    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Answers requests with what `page` makes, for ever.
pub(crate) fn serve(listener: &Listener, page: fn() -> String) -> ! {
    match listener {
        Listener::Tcp(listener) => accept(|| listener.accept().map(|(client, _)| client), page),
        Listener::Unix(listener) => accept(|| listener.accept().map(|(client, _)| client), page),
    }
}

fn accept<S: Socket>(next: impl Fn() -> io::Result<S>, page: fn() -> String) -> ! {
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok(client) = next() else {
            // Without descriptors, say: a later client may find some.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let others = busy.fetch_add(1, Ordering::Relaxed);
        let mine = Busy(Arc::clone(&busy));
        let work = move || {
            let _mine = mine;
            // A client that fails concerns nobody else.
            let _ = Exchange::new(client).answer(others < CLIENTS, page);
        };
        if others < 2 * CLIENTS {
            // Without a thread the client is let go.
            let _ = thread::Builder::new().spawn(work);
        }
    }
}

/// A client that is being served.
struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request and its answer, within their time.
struct Exchange<S> {
    client: S,
    until: Instant,
}

/// What is answered.
struct Answer {
    status: &'static str,
    body: String,
    with_body: bool,
}

impl Answer {
    fn new(status: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
            with_body: true,
        }
    }
}

impl<S: Socket> Exchange<S> {
    fn new(client: S) -> Self {
        Self {
            client,
            until: Instant::now() + PATIENCE,
        }
    }

    fn answer(mut self, has_room: bool, page: fn() -> String) -> io::Result<()> {
        let answer = if has_room {
            self.request(page)?
        } else {
            Answer::new(
                "503 Service Unavailable",
                "too many clients, try again later\n",
            )
        };
        let Answer {
            status,
            body,
            with_body,
        } = answer;
        let length = body.len();
        let mut text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {length}\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
        );
        if with_body {
            text += &body;
        }
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            self.limit()?;
            let written = self.client.write(rest)?;
            rest = &rest[written..];
        }
        self.client.end()?;
        self.drain()
    }

    /// Reads the request and decides what to say.
    fn request(&mut self, page: fn() -> String) -> io::Result<Answer> {
        let mut request = Vec::new();
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut parsed = httparse::Request::new(&mut headers);
            match parsed.parse(&request) {
                Ok(httparse::Status::Complete(_)) => return Ok(decide::<S>(&parsed, page)),
                Ok(httparse::Status::Partial) if request.len() < REQUEST => {}
                Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                    let status = "431 Request Header Fields Too Large";
                    return Ok(Answer::new(status, "the request is too long\n"));
                }
                Err(error) => {
                    return Ok(Answer::new("400 Bad Request", format!("{error}\n")));
                }
            }
            self.limit()?;
            let mut piece = [0; 1024];
            let count = self.client.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            request.extend_from_slice(&piece[..count]);
        }
    }

    /// Takes in what the client still sends: a socket closed with unread input resets the connection,
    /// and the answer may be lost with it.
    fn drain(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        let mut left = SURPLUS;
        while left > 0 {
            self.limit()?;
            match self.client.read(&mut piece)? {
                0 => break,
                count => left = left.saturating_sub(count as u64),
            }
        }
        Ok(())
    }

    /// Leaves the next step no more time than there is.
    fn limit(&self) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.client.limit(left)
    }
}

fn decide<S: Socket>(request: &httparse::Request<'_, '_>, page: fn() -> String) -> Answer {
    let mut hosts = request.headers.iter();
    let host = hosts.find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = host.map_or("", |header| str::from_utf8(header.value).unwrap_or("?"));
    if S::HAS_BROWSERS && !is_loopback(host) {
        return Answer::new("403 Forbidden", "served to this machine only\n");
    }
    let path = request.path.unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let with_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Answer::new("405 Method Not Allowed", "GET and HEAD only\n"),
    };
    let mut answer = match path {
        "/metrics" | "/" => Answer::new("200 OK", page()),
        _ => Answer::new("404 Not Found", "see /metrics\n"),
    };
    answer.with_body = with_body;
    answer
}

/// Whether a client that names `host` meant this machine. A web page elsewhere can make a browser
/// connect to an address here under a name of its own (DNS rebinding), and would read what it is told.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{Exchange, Socket as _, is_loopback};
    use std::io::{ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn hosts_of_this_machine_are_known() {
        for host in [
            "localhost",
            "LOCALHOST:9100",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:9",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:80",
            "10.0.0.1",
            "[::2]:1",
            "?",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    /// A client of `address` that does not wait for ever.
    fn connect(address: SocketAddr) -> TcpStream {
        let client = TcpStream::connect(address).unwrap();
        client.limit(Duration::from_secs(60)).unwrap();
        client
    }

    /// What a client receives that sends `request` and reads when all of it is sent.
    fn answer(request: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || {
            let mut client = connect(address);
            client.write_all(&request).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        });
        let (server, _) = listener.accept().unwrap();
        let _ = Exchange::new(server).answer(true, || "page\n".to_owned());
        client.join().unwrap()
    }

    #[test]
    fn a_client_has_its_time_for_all_that_it_sends_and_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = connect(listener.local_addr().unwrap());
        let (server, _) = listener.accept().unwrap();
        // More than fits the socket's buffers, and nobody reads it.
        let page = || "x".repeat(64 << 20);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        for server in [server.try_clone().unwrap(), server] {
            // The second time it is the request that does not come.
            let exchange = Exchange {
                client: server,
                until: Instant::now() + Duration::from_millis(50),
            };
            let end = exchange.answer(true, page).unwrap_err();
            let over = [ErrorKind::TimedOut, ErrorKind::WouldBlock];
            assert!(over.contains(&end.kind()), "{end}");
        }
    }

    #[test]
    fn requests_are_answered_and_the_answer_arrives() {
        let long = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(300_000)
        );
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
        for (request, status, body) in [
            (
                "GET /metrics HTTP/1.1\r\nHost: localhost:9\r\n\r\n",
                "200",
                "page\n",
            ),
            (
                "GET /metrics?x=1 HTTP/1.0\r\nhost: [::1]\r\n\r\n",
                "200",
                "page\n",
            ),
            ("HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "200", ""),
            (
                "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "404",
                "see /metrics\n",
            ),
            (
                "POST / HTTP/1.1\r\nHost: localhost\r\n\r\nbody",
                "405",
                "GET and HEAD only\n",
            ),
            (
                "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                "403",
                "served to this machine only\n",
            ),
            (
                "GET / HTTP/1.1\r\n\r\n",
                "403",
                "served to this machine only\n",
            ),
            (&long, "431", "the request is too long\n"),
            (&many, "431", "the request is too long\n"),
            ("\0\x01\r\n\r\n", "400", ""),
        ] {
            let said = answer(request.as_bytes().to_vec());
            let (head, text) = said.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(text == body || status == "400", "{said}");
            if status == "200" {
                assert!(head.contains("\r\nContent-Length: 5\r\n"), "{head}");
            }
        }
    }
}
