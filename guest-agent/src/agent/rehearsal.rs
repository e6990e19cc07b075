//! What runs in place of a workload before a clone is needed: it does what most workloads do first. On a server's way it
//! serves one connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

/// Answers like a command, or like a server if it is told a port.
pub(crate) fn rehearse() {
    match std::env::var("PORT").ok().and_then(|port| port.parse().ok()) {
        Some(port) => serve(port),
        None => {
            let mut input = Vec::new();
            // Whatever goes wrong here: the workload will meet it again.
            let _ = std::io::stdin().read_to_end(&mut input);
            let _ = std::io::stdout().write_all(b"ready\n");
        }
    }
}

fn serve(port: u16) {
    let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) else { return };
    let Ok((mut connection, _)) = listener.accept() else { return };
    let mut request = [0; 512];
    if let Ok(1..) = connection.read(&mut request) {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}
