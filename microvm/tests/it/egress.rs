//! A guest's way out, up to the host's end of it: who has one, who has none, and that nothing of it grows or stays.

use std::time::Duration;

use microvm::{Egress, End, GuestStream, Workload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::step::{self, steps};
use crate::support::{Ground, LONG, command, finish, ground, run};

fn with_a_way_out(arguments: &[&str]) -> Workload {
    Workload { egress: Egress::Proxy, ..command(arguments) }
}

/// As the proxy: it answers in capitals, once it has been told all.
async fn shout(mut stream: GuestStream) {
    let mut said = String::new();
    // One that was cut has nothing to hear.
    if stream.read_to_string(&mut said).await.is_ok() {
        let _ = stream.write_all(said.to_uppercase().as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_out_are_bounded_and_leave_nothing() {
    let ground = &ground().await;
    steps!(
        ground;
        a_way_out_is_there_for_those_alone_who_have_it,
        a_proxy_that_does_not_read_stops_the_workload,
        nothing_is_left_of_many_connections_that_were_cut,
    );
}

async fn a_way_out_is_there_for_those_alone_who_have_it(ground: &Ground) {
    let Ground { bench, template } = ground;
    let restore = || async { template.restore(Some(&bench.disk)).await.unwrap() };

    let mut out = restore().await.start(with_a_way_out(&["dial", "hello world"]), LONG).await.unwrap();
    let mut streams = out.egress.take().unwrap();
    let serve = tokio::spawn(async move {
        shout(streams.recv().await.unwrap()).await;
        // It ends with the run.
        streams.recv().await.is_none()
    });
    let (output, _, ended) = finish(out, b"").await;
    assert_eq!((output.as_slice(), ended.end), (b"HELLO WORLD".as_slice(), End::Exited(0)));
    assert!(serve.await.unwrap());

    let (output, ..) = run(restore().await, with_a_way_out(&["env"])).await;
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        assert!(output.contains(&format!("{name}=http://127.0.0.1:3128\n")), "{output}");
    }
    assert!(output.contains("NO_PROXY=localhost,127.0.0.1,::1\n"), "{output}");

    let mut closed = restore().await.start(command(&["dial", "hello"]), LONG).await.unwrap();
    assert!(closed.egress.take().is_none());
    let (output, ..) = finish(closed, b"").await;
    assert_eq!(String::from_utf8_lossy(&output), "failed: ConnectionRefused\n");
    let (output, ..) = run(restore().await, command(&["env"])).await;
    assert_eq!(output, "PATH=/bin\n");
}

async fn a_proxy_that_does_not_read_stops_the_workload(ground: &Ground) {
    let Ground { bench, template } = ground;
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let mut run = paused.start(with_a_way_out(&["pour"]), LONG).await.unwrap();
    let mut streams = run.egress.take().unwrap();
    let mut stream = streams.recv().await.unwrap();
    let (output, _, ended) = finish(run, b"").await;
    assert_eq!(ended.end, End::Exited(0));
    let poured: u64 = String::from_utf8(output).unwrap().trim().parse().unwrap();
    // What the guest's own sockets hold, and one window.
    assert!(poured > 0 && poured < 12 << 20, "{poured} bytes went to nobody");
    let mut held = Vec::new();
    let _ = stream.read_to_end(&mut held).await;
    assert!(held.len() <= 128 << 10, "the host held {} bytes", held.len());
}

async fn nothing_is_left_of_many_connections_that_were_cut(ground: &Ground) {
    let Ground { bench, template } = ground;
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let mut run = paused.start(with_a_way_out(&["cut", "300", "nowhere:1"]), LONG).await.unwrap();
    let mut streams = run.egress.take().unwrap();
    let serve = tokio::spawn(async move {
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(stream) = streams.recv().await {
            let over = stream.over();
            tasks.spawn(async move {
                tokio::select! {
                    () = over => {}
                    () = accept_anything(stream) => {}
                }
            });
        }
        // All ends with the run.
        tokio::time::timeout(Duration::from_secs(20), tasks.join_all()).await.unwrap().len()
    });
    let (output, ..) = finish(run, b"").await;
    assert_eq!(String::from_utf8_lossy(&output), "64 of 64 work\n");
    assert!((64..=364).contains(&serve.await.unwrap()));
}

/// Says yes, and then nothing.
async fn accept_anything(mut stream: GuestStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let _ = stream.read_to_end(&mut head).await;
}
