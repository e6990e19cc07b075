//! Servers in real guests, spoken to with a real HTTP client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use microvm::{Contract, End, GuestStream, Pool, PoolConfig};
use tokio::io::AsyncReadExt;

use crate::step::{self, steps};
use crate::support::{Ground, LONG, SHAPE, ground, server};

async fn client(stream: GuestStream) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn get(client: &mut SendRequest<Full<Bytes>>, path: &str, body: Vec<u8>) -> Bytes {
    let request = http::Request::builder().uri(path).header("host", "guest").body(Full::new(body.into())).unwrap();
    client.ready().await.unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_serve_or_say_why_not() {
    let ground = &ground().await;
    steps!(
        ground;
        a_server_is_kept_warm_and_serves_several_at_a_time,
        servers_that_do_not_serve_are_told_apart,
        a_pool_keeps_to_its_budget_and_its_clones_serve,
        a_server_that_answers_in_pieces_does_not_wait_for_acknowledgements,
    );
}

async fn a_server_is_kept_warm_and_serves_several_at_a_time(ground: &Ground) {
    let Ground { bench, template } = ground;
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let mut run = paused.start(server(&["serve"], LONG), LONG).await.unwrap();
    assert!(run.connect_now().is_none());
    let mut one = client(run.connect().await.unwrap()).await;
    assert_eq!(get(&mut one, "/", Vec::new()).await, "hello 1\n");
    assert_eq!(get(&mut one, "/", Vec::new()).await, "hello 1\n");

    let body: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    assert!(get(&mut one, "/echo", body.clone()).await == body);

    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(client(run.connect_now().unwrap()).await);
    }
    let slow = others.iter_mut().map(|client| get(client, "/slow", Vec::new()));
    for answer in futures::future::join_all(slow).await {
        assert_eq!(answer, "slow\n");
    }
    let usage = run.measure().await.unwrap();
    assert!(usage.cpu_us > 0);
    let mut log = vec![0; 10];
    run.stdout.as_mut().unwrap().read_exact(&mut log).await.unwrap();
    assert_eq!(log, b"listening\n");
    run.stop().await;
    let ended = run.ended().await;
    assert_eq!(ended.end, End::Stopped);
    assert!(ended.usage.unwrap().cpu_us >= usage.cpu_us);
}

async fn servers_that_do_not_serve_are_told_apart(ground: &Ground) {
    let Ground { bench, template } = ground;
    let end = |workload| async {
        let paused = template.restore(Some(&bench.disk)).await.unwrap();
        let mut run = paused.start(workload, LONG).await.unwrap();
        assert!(run.connect().await.is_none());
        run.ended().await.end
    };
    assert_eq!(end(server(&["exit", "3"], LONG)).await, End::ExitedBeforeListening(3));
    assert_eq!(end(server(&["sleep", "60000"], Duration::from_millis(700))).await, End::NeverListened);

    // One that serves and then ends by itself.
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let mut run = paused.start(server(&["serve"], LONG), LONG).await.unwrap();
    let mut client = client(run.connect().await.unwrap()).await;
    let request = http::Request::builder().uri("/exit").header("host", "guest").body(Full::default()).unwrap();
    assert!(client.send_request(request).await.is_err());
    assert_eq!(run.ended().await.end, End::Exited(5));
}

async fn a_pool_keeps_to_its_budget_and_its_clones_serve(ground: &Ground) {
    let Ground { bench, template } = ground;
    let contract = Contract::Server { port: 8080, listen_within_ms: 60_000 };
    // Three are wanted, two fit.
    let config = PoolConfig { ready: 3, memory_bytes: SHAPE.memory_bytes() * 2 + 1 };
    let pool = Pool::new(Arc::clone(template), Some(bench.disk.clone()), contract, 32 << 20, Vec::new(), config);
    assert_eq!(pool.capacity(), 2);
    pool.fill().await.unwrap();
    assert_eq!(pool.ready(), 2);
    for left in [1, 0, 0] {
        let mut run = pool.take().await.unwrap().start(server(&["serve"], LONG), LONG).await.unwrap();
        assert_eq!(pool.ready(), left);
        let mut client = client(run.connect().await.unwrap()).await;
        assert_eq!(get(&mut client, "/", Vec::new()).await, "hello 1\n");
    }

    // Machines that die while they wait are not handed out.
    pool.fill().await.unwrap();
    for folder in std::fs::read_dir(bench.folder.path().join("machines")).unwrap().flatten() {
        let Ok(text) = std::fs::read_to_string(folder.path().join("pid")) else { continue };
        let pid = text.split(' ').next().unwrap().parse().unwrap();
        // A machine of the loop above may be ending.
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut run = pool.take().await.unwrap().start(server(&["serve"], LONG), LONG).await.unwrap();
    assert_eq!(pool.ready(), 0);
    assert!(run.connect().await.is_some());
}

/// The middle of some warm requests' times.
async fn middle_time(template: &microvm::Template, disk: &microvm::Disk, behaviour: &str) -> Duration {
    let clone = template.restore(Some(disk)).await.unwrap();
    let mut run = clone.start(server(&[behaviour], LONG), LONG).await.unwrap();
    let mut client = client(run.connect().await.unwrap()).await;
    let mut times = Vec::new();
    for _ in 0..41 {
        let start = std::time::Instant::now();
        assert_eq!(get(&mut client, "/", Vec::new()).await, "hello 1\n");
        times.push(start.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

async fn a_server_that_answers_in_pieces_does_not_wait_for_acknowledgements(ground: &Ground) {
    let Ground { bench, template } = ground;
    let at_once = middle_time(template, &bench.disk, "serve").await;
    let in_pieces = middle_time(template, &bench.disk, "serve-in-pieces").await;
    // The kernel's timer is 40 ms.
    assert!(in_pieces < at_once + Duration::from_millis(30), "{in_pieces:?} in pieces, {at_once:?} at once");
}
