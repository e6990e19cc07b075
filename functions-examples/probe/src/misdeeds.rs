//! What a function must not be able to hurt anybody with.

use std::hint::black_box;

use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{ErrorCode, ResponseOutparam};

use crate::answers;

const PAGE: usize = 4096;

/// Burns CPU and touches memory for a known time, so that what the platform records can be compared.
pub fn burn(out: ResponseOutparam, ms: u64, mib: usize, bytes: usize) {
    let memory = touch(mib);
    let end = monotonic_clock::now() + ms * 1_000_000;
    let mut state = 1_u64;
    while monotonic_clock::now() < end {
        for _ in 0..10_000 {
            state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    black_box(memory);
    answers::bytes(out, bytes);
}

pub fn allocate(out: ResponseOutparam, mib: usize) {
    let memory = touch(mib);
    answers::text(out, 200, &format!("{} bytes\n", memory.len()));
}

fn touch(mib: usize) -> Vec<u8> {
    let mut memory = vec![0_u8; mib * 1024 * 1024];
    for byte in memory.iter_mut().step_by(PAGE) {
        *byte = black_box(1);
    }
    memory
}

pub fn spin() {
    loop {
        black_box(0);
    }
}

pub fn recurse(out: ResponseOutparam) {
    // Small frames: the host's stack must end before the guest's own.
    fn deeper(depth: u64) -> u64 {
        if black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1) ^ depth }
    }
    answers::text(out, 200, &format!("{}\n", deeper(0)));
}

pub fn trap() {
    panic!("the probe was asked to trap");
}

/// The head and some of the body are sent already when it happens.
pub fn late_trap(out: ResponseOutparam, bytes: usize) {
    answers::stream(out, 200, &[("content-type", "text/plain")], |body| {
        let _ = body.write_all(&vec![b'x'; bytes]).and_then(|()| body.flush());
        panic!("the probe was asked to trap late");
    });
}

pub fn refuse(out: ResponseOutparam) {
    ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("the probe refuses".to_owned()))));
}
