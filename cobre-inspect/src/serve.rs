//! The metrics over HTTP, on a loopback address only: one request at a time, `GET /metrics`.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use crate::error::Error;

/// A client that says nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest request line that is read.
const LINE: u64 = 1024;

/// Listens on `address`.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    TcpListener::bind(address).map_err(Error::system("cannot listen"))
}

/// Answers requests with what `page` makes, for ever.
pub(crate) fn serve(listener: &TcpListener, page: impl Fn() -> String) -> ! {
    loop {
        // A client that fails concerns nobody else; without descriptors the next may succeed.
        if let Ok((client, _)) = listener.accept() {
            let _ = answer(&client, &page);
        }
    }
}

fn answer(client: &TcpStream, page: &impl Fn() -> String) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(client.take(LINE)).read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics" | "/")) => ("200 OK", page()),
        (Some("GET"), _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET only\n".to_owned()),
    };
    let length = body.len();
    write!(
        &mut &*client,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
