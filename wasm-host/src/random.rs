//! Random bytes for guests, in place of the engine's: one call may want as much as fills the guest's memory, and is cut
//! into turns, so that it holds no thread and ends with the run.

use std::sync::Arc;

use rand::RngCore as _;
use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{Caller, Extern, Linker, StoreContextMut, bail};

use crate::guest::{ComponentGuest, ModuleGuest};
use crate::record::Record;

/// What one turn makes: a fraction of a millisecond.
const TURN_BYTES: usize = 256 << 10;
/// What a component gets in one call: it is gathered in the host's memory before it is copied to the guest's.
pub const COMPONENT_RANDOM_BYTES_MAX: u64 = 4 << 20;

/// Takes the place of `wasi:random`'s functions whose work the guest chooses.
pub(crate) fn for_components(linker: &mut ComponentLinker<ComponentGuest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    for (interface, function) in [
        ("wasi:random/random@0.2.12", "get-random-bytes"),
        ("wasi:random/insecure@0.2.12", "get-insecure-random-bytes"),
    ] {
        linker.instance(interface)?.func_wrap_async(function, |guest, (length,): (u64,)| {
            Box::new(async move { Ok((bytes(guest, length).await?,)) })
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// Takes the place of WASI p1's `random_get`.
pub(crate) fn for_modules(linker: &mut Linker<ModuleGuest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap_async("wasi_snapshot_preview1", "random_get", |caller, (start, length): (i32, i32)| {
        Box::new(fill(caller, start.cast_unsigned(), length.cast_unsigned()))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn bytes(guest: StoreContextMut<'_, ComponentGuest>, length: u64) -> wasmtime::Result<Vec<u8>> {
    let Some(length) = usize::try_from(length).ok().filter(|_| length <= COMPONENT_RANDOM_BYTES_MAX) else {
        let most = protocol::ByteSize(COMPONENT_RANDOM_BYTES_MAX);
        bail!("one call wants {length} random bytes; at most {most} are given at once");
    };
    let record = Arc::clone(guest.data().limiter.record());
    let mut bytes = vec![0; length];
    for (turn, piece) in bytes.chunks_mut(TURN_BYTES).enumerate() {
        if turn > 0 {
            give_way(&record).await;
        }
        rand::rng().fill_bytes(piece);
    }
    Ok(bytes)
}

/// Fills the guest's memory; the result is WASI's `errno`.
async fn fill(mut guest: Caller<'_, ModuleGuest>, start: u32, length: u32) -> wasmtime::Result<i32> {
    let Some(Extern::Memory(memory)) = guest.get_export("memory") else { bail!("the module exports no memory") };
    let (mut at, end) = (usize::try_from(start)?, usize::try_from(u64::from(start) + u64::from(length))?);
    if end > memory.data_size(&guest) {
        bail!("`random_get` wants bytes outside of the module's memory");
    }
    let record = Arc::clone(guest.data().limiter.record());
    while at < end {
        let piece = at..end.min(at + TURN_BYTES);
        at = piece.end;
        if let Some(piece) = memory.data_mut(&mut guest).get_mut(piece) {
            rand::rng().fill_bytes(piece);
        }
        if at < end {
            give_way(&record).await;
        }
    }
    Ok(0)
}

/// Ends the guest's turn within a call of the host. It has computed, so it goes on where it holds up nobody.
async fn give_way(record: &Record) {
    record.tick();
    tokio::task::yield_now().await;
}
