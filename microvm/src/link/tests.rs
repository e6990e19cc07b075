//! The link against a guest that is not nice: the other end of a pipe plays it.

use std::time::Duration;

use guest_agent::wire::{HEADER_BYTES, Header, Piece, STDIO, ToGuest, ToHost, WINDOW_BYTES};
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_end_well(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (link, mut control, mut guest) = link();
            let _stdio = link.stdio();
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
