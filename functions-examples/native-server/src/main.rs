//! A native HTTP server on the port in `PORT`, with nothing but the standard library. It counts its own requests: the
//! platform keeps it warm between them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

static SERVED: AtomicU64 = AtomicU64::new(0);

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("listening on {port}");
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("a connection ended: {error}");
            }
        });
    }
    Ok(())
}

/// All requests of one connection.
fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut requests = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut header = String::new();
            requests.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            length = header.strip_prefix("content-length:").and_then(|text| text.trim().parse().ok()).unwrap_or(length);
            chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
        }
        let body = if chunked { chunks(&mut requests)? } else { exactly(&mut requests, length)? };
        let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
        let text = format!("request {served} of this server: {} with {} bytes\n", line.trim(), body.len());
        write!(answers, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{text}", text.len())?;
        answers.flush()?;
    }
}

fn exactly(from: &mut impl Read, length: usize) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn chunks(from: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        from.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        body.extend(exactly(from, size)?);
        let mut end = String::new();
        from.read_line(&mut end)?;
        if size == 0 {
            return Ok(body);
        }
    }
}
