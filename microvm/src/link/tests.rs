//! The link against a guest that is not nice: the other end of a pipe plays it.

use std::time::Duration;

use guest_agent::wire::{
    EGRESS_STREAMS_MAX, FIRST_EGRESS_STREAM, FIRST_STREAM, HEADER_BYTES, Header, Piece, STDIO, ToGuest, ToHost,
    WINDOW_BYTES,
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::{Control, GuestStream, Link};

fn link() -> (Link, mpsc::Receiver<Control>, DuplexStream) {
    let (ours, guest) = tokio::io::duplex(1 << 20);
    let (link, control) = Link::open(ours);
    (link, control, guest)
}

fn data(length: usize, fin: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    ToHost::Stream(STDIO, Piece::Data { bytes: vec![7; length], fin }).encode(&mut bytes);
    bytes
}

async fn next_frame(guest: &mut DuplexStream) -> ToGuest {
    let mut header = [0; HEADER_BYTES];
    guest.read_exact(&mut header).await.unwrap();
    let header = Header::decode(&header).unwrap();
    let mut payload = vec![0; header.length()];
    guest.read_exact(&mut payload).await.unwrap();
    ToGuest::decode(header, payload).unwrap()
}

async fn broken(control: &mut mpsc::Receiver<Control>) -> bool {
    matches!(control.recv().await, Some(Control::Broken(_)))
}

async fn is_over(stream: &mut GuestStream) -> bool {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.is_err()
}

#[tokio::test]
async fn a_guest_that_sends_more_than_it_may_is_broken() {
    let (link, mut control, mut guest) = link();
    let mut stdio = link.stdio();
    let piece = 32 << 10;
    for _ in 0..usize::try_from(WINDOW_BYTES).unwrap() / piece {
        guest.write_all(&data(piece, false)).await.unwrap();
    }
    guest.write_all(&data(1, false)).await.unwrap();
    assert!(broken(&mut control).await);
    assert!(is_over(&mut stdio).await);
}

#[tokio::test]
async fn what_is_read_is_granted_again() {
    let (link, _control, mut guest) = link();
    let mut stdio = link.stdio();
    let half = usize::try_from(WINDOW_BYTES).unwrap() / 2;
    for _ in 0..20 {
        guest.write_all(&data(half / 2, false)).await.unwrap();
        guest.write_all(&data(half / 2, false)).await.unwrap();
        let mut piece = vec![0; half];
        stdio.read_exact(&mut piece).await.unwrap();
        assert_eq!(next_frame(&mut guest).await, ToGuest::Stream(STDIO, Piece::Credit(WINDOW_BYTES / 2)));
    }
    guest.write_all(&data(0, true)).await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(stdio.read_to_end(&mut rest).await.unwrap(), 0);
}

#[tokio::test]
async fn a_guest_that_does_not_read_stops_the_writer() {
    let (link, _control, _guest) = link();
    let mut stdio = link.stdio();
    let block = vec![1; 4 << 20];
    let write = tokio::time::timeout(Duration::from_millis(200), stdio.write_all(&block));
    assert!(write.await.is_err(), "4 MiB went into a window of {WINDOW_BYTES} bytes");
}

#[tokio::test]
async fn endless_credit_is_not_endless_memory() {
    let (link, _control, mut guest) = link();
    let mut stdio = link.stdio();
    let mut grant = Vec::new();
    for _ in 0..8 {
        ToHost::Stream(STDIO, Piece::Credit(u32::MAX)).encode(&mut grant);
    }
    guest.write_all(&grant).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let block = vec![1; 64 << 20];
    let write = tokio::time::timeout(Duration::from_millis(500), stdio.write_all(&block));
    assert!(write.await.is_err(), "64 MiB were taken though the guest reads nothing");
}

#[tokio::test]
async fn empty_pieces_after_the_end_and_garbage_are_broken() {
    for bytes in [data(0, false), [data(0, true), data(1, false)].concat(), vec![0xff; 40]] {
        let (link, mut control, mut guest) = link();
        let _stdio = link.stdio();
        guest.write_all(&bytes).await.unwrap();
        assert!(broken(&mut control).await);
    }
}

#[tokio::test]
async fn streams_end_with_the_link() {
    let (link, mut control, guest) = link();
    let mut stdio = link.stdio();
    drop(guest);
    assert!(matches!(control.recv().await, Some(Control::Closed)));
    assert!(is_over(&mut stdio).await);
    assert!(stdio.write_all(b"x").await.is_err());
    assert!(link.connect().is_none());
}

fn opens(ids: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    ids.into_iter().for_each(|id| ToHost::Open(id).encode(&mut bytes));
    bytes
}

#[tokio::test]
async fn a_guest_opens_streams_only_where_it_may() {
    let cases = [(false, vec![FIRST_EGRESS_STREAM]), (true, vec![FIRST_STREAM]), (true, vec![u32::MAX])];
    let twice = (true, vec![FIRST_EGRESS_STREAM + 1; 2]);
    for (allowed, ids) in cases.into_iter().chain([twice]) {
        let (link, mut control, mut guest) = link();
        let _streams = allowed.then(|| link.accept());
        guest.write_all(&opens(ids)).await.unwrap();
        assert!(broken(&mut control).await);
    }
}

#[tokio::test]
async fn a_guest_that_opens_without_end_is_refused_and_then_waits() {
    let (link, _control, mut guest) = link();
    let mut streams = link.accept();
    let most = u32::try_from(2 * EGRESS_STREAMS_MAX).unwrap();
    guest.write_all(&opens((0..=most).map(|at| FIRST_EGRESS_STREAM + at))).await.unwrap();
    assert_eq!(next_frame(&mut guest).await, ToGuest::Stream(FIRST_EGRESS_STREAM + most, Piece::Reset));
    for _ in 0..most {
        streams.recv().await.unwrap();
    }
    assert!(streams.try_recv().is_err());
    // Those were dropped, so that the guest is told and there is room again.
    for _ in 0..most {
        assert!(matches!(next_frame(&mut guest).await, ToGuest::Stream(_, Piece::Reset)));
    }
    let next = FIRST_EGRESS_STREAM + most + 1;
    guest.write_all(&opens([next])).await.unwrap();
    let kept = streams.recv().await.unwrap();

    // It reads none of its refusals: they must not pile up here.
    let (_kept, mut id) = (kept, next + 1);
    let flood = async {
        loop {
            guest.write_all(&opens(id..id + 1000)).await.unwrap();
            id += 1000;
            assert!(id - next < 1_000_000, "a million refusals were kept for a guest that reads none");
        }
    };
    let holding = async {
        let mut held = Vec::new();
        while let Some(stream) = streams.recv().await {
            held.push(stream);
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(Duration::from_secs(2), flood) => {}
        () = holding => unreachable!("the link is open"),
    }
}

#[tokio::test]
async fn who_waits_for_a_streams_end_learns_of_it_without_reading() {
    let (link, _control, mut guest) = link();
    let mut streams = link.accept();
    let ids = [0, 1].map(|at| FIRST_EGRESS_STREAM + at);
    guest.write_all(&opens(ids)).await.unwrap();
    let (one, other) = (streams.recv().await.unwrap(), streams.recv().await.unwrap());
    let mut reset = Vec::new();
    ToHost::Stream(ids[0], Piece::Data { bytes: vec![1; 100], fin: false }).encode(&mut reset);
    ToHost::Stream(ids[0], Piece::Reset).encode(&mut reset);
    guest.write_all(&reset).await.unwrap();
    one.over().await;
    let over = tokio::spawn(other.over());
    tokio::task::yield_now().await;
    assert!(!over.is_finished());
    link.close();
    over.await.unwrap();
    assert!(streams.recv().await.is_none(), "no stream comes when the link is closed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_end_well(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (link, mut control, mut guest) = link();
            let _stdio = link.stdio();
            let _streams = link.accept();
            guest.write_all(&bytes).await.unwrap();
            drop(guest);
            while let Some(next) = control.recv().await {
                if !matches!(next, Control::Frame(_)) {
                    break;
                }
            }
        });
    }
}
