//! The program of a node and a day: what that node runs, and the same in Rust, which says what must come out.
//!
//! It reads 8 bytes, mixes them for a fixed number of turns with a table in memory, and writes 8 bytes. Its numbers, and so
//! its artifact and ids, are others for each node and each day, so that nodes cannot tell each other what is a check; the
//! input is another one each time, so that no answer can be kept.

use protocol::node::VersionSpec;
use protocol::route::VersionRoute;
use protocol::ticket::Ticket;
use protocol::{
    AccountId, ArtifactForm, ByteSize, Digest, FunctionId, Kind, LaneChoice, Limits, NodeId, PlacementClass, Timestamp,
    VersionId,
};
use uuid::Builder;

/// Turns of the loop: some tens of milliseconds.
pub(super) const TURNS: u64 = 4_000_000;
/// Cells of the table.
const CELLS: usize = 1 << 13;
/// From a state to the place of its cell: as many bits as there are places.
const CELL_SHIFT: u32 = 64 - CELLS.trailing_zeros();
/// The table begins at one of so many places.
const TABLES: u64 = 1 << 12;
const DAY_MS: i64 = 86_400_000;
/// A version is younger than that on its day; so much older its function may be, and again its account.
const VERSION_AGE_MS: u64 = 30 * 86_400_000;
const OLDER_MS: u64 = 365 * 86_400_000;

/// The number of the day.
pub(super) fn day(now: Timestamp) -> i64 {
    now.0.div_euclid(DAY_MS)
}

/// When it begins.
fn beginning(day: i64) -> u64 {
    u64::try_from(day.saturating_mul(DAY_MS)).unwrap_or(0)
}

/// Bytes that only control planes can make.
struct Drawn([u8; 128]);

impl Drawn {
    fn of(secret: &[u8; 32], node: NodeId, day: i64) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(node.uuid().as_bytes()).update(&day.to_le_bytes());
        let mut bytes = [0; 128];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }

    fn number(&self, at: usize) -> u64 {
        self.0[at..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn id(&self, at: usize, millis: u64) -> uuid::Uuid {
        id(self.0[at..].first_chunk::<10>().copied().unwrap_or_default(), millis)
    }
}

/// An id like any other: of this millisecond, and then chance.
fn id(random: [u8; 10], millis: u64) -> uuid::Uuid {
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// What all nodes' checks of a day are learned as: they do the same work, so that their times tell how fast the nodes are.
pub(super) fn learned_as(secret: &[u8; 32], day: i64) -> VersionId {
    let hash = blake3::keyed_hash(secret, format!("learned {day}").as_bytes());
    let random = hash.as_bytes().first_chunk::<10>().copied().unwrap_or_default();
    VersionId::from_uuid(id(random, beginning(day)))
}

/// Whose, and which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) account: AccountId,
    pub(super) function: FunctionId,
    pub(super) version: VersionId,
}

impl Ids {
    /// Of a version that is some days old, of a function that is older, of an account that is older still.
    pub(super) fn of(secret: &[u8; 32], node: NodeId, day: i64) -> Self {
        Self::drawn(&Drawn::of(secret, node, day), day)
    }

    fn drawn(drawn: &Drawn, day: i64) -> Self {
        let version = beginning(day).saturating_sub(1 + drawn.number(48) % VERSION_AGE_MS);
        let function = version.saturating_sub(1 + drawn.number(56) % OLDER_MS);
        let account = function.saturating_sub(1 + drawn.number(64) % OLDER_MS);
        Self {
            account: AccountId::from_uuid(drawn.id(0, account)),
            function: FunctionId::from_uuid(drawn.id(16, function)),
            version: VersionId::from_uuid(drawn.id(32, version)),
        }
    }

    /// Whether the ticket names them.
    pub(super) fn are_of(&self, ticket: &Ticket) -> bool {
        *self == Self { account: ticket.account, function: ticket.function, version: ticket.version }
    }
}

/// The numbers in the loop.
#[derive(Debug, Clone, Copy)]
struct Mix {
    shifts: [u32; 3],
    factor: u64,
    term: u64,
    /// Where the table begins in memory.
    table: u64,
}

impl Mix {
    fn drawn(drawn: &Drawn) -> Self {
        Self {
            shifts: [88, 89, 90].map(|at| 5 + u32::from(drawn.0[at] % 40)),
            // Odd: so no state is lost by the multiplication.
            factor: drawn.number(72) | 1,
            term: drawn.number(80),
            table: 1024 + 8 * (drawn.number(96) % TABLES),
        }
    }
}

/// A program with its ids.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) ids: Ids,
    pub(super) wasm: Vec<u8>,
    pub(super) digest: Digest,
    mix: Mix,
}

impl Program {
    /// The program of this node on this day.
    ///
    /// # Errors
    /// When its text is no program.
    pub(super) fn of(secret: &[u8; 32], node: NodeId, day: i64) -> Result<Self, wat::Error> {
        let drawn = Drawn::of(secret, node, day);
        let mix = Mix::drawn(&drawn);
        let wasm = wat::parse_str(text(&mix))?;
        Ok(Self { ids: Ids::drawn(&drawn, day), digest: Digest::of(&wasm), wasm, mix })
    }

    /// What comes out for this input.
    pub(super) fn result(&self, seed: u64) -> [u8; 8] {
        let Mix { shifts: [first, second, third], factor, term, .. } = self.mix;
        let mut table = vec![0_u64; CELLS];
        let mut state = seed;
        for _ in 0..TURNS {
            state ^= state << first;
            state ^= state >> second;
            state ^= state << third;
            state = state.wrapping_mul(factor).wrapping_add(term);
            let place = usize::try_from(state >> CELL_SHIFT).unwrap_or(0);
            if let Some(cell) = table.get_mut(place) {
                state ^= *cell;
                *cell = state;
            }
        }
        state.to_le_bytes()
    }

    /// As a gateway would have it.
    pub(super) fn route(&self) -> VersionRoute {
        VersionRoute {
            version: self.ids.version,
            number: 1,
            artifact: self.digest,
            artifact_size: self.size(),
            kind: Kind::Command,
            lane: LaneChoice::Auto,
            placement: PlacementClass::Any,
            limits: Limits::default(),
            form: ArtifactForm::Wasm,
        }
    }

    /// As a node asks for it.
    pub(super) fn spec(&self) -> VersionSpec {
        VersionSpec {
            version: self.ids.version,
            function: self.ids.function,
            account: self.ids.account,
            artifact: self.digest,
            artifact_size: self.size(),
            kind: Some(Kind::Command),
            lane: LaneChoice::Auto,
            limits: Limits::default(),
            env: Default::default(),
            egress: Vec::new(),
            base: None,
            command: Vec::new(),
        }
    }

    fn size(&self) -> ByteSize {
        ByteSize(u64::try_from(self.wasm.len()).unwrap_or(u64::MAX))
    }
}

/// The same as [`Program::result`]: a command of WASI. Where its input does not come whole, it ends without a result: no
/// honest node returns a wrong one.
fn text(mix: &Mix) -> String {
    let Mix { shifts: [first, second, third], factor, term, table } = mix;
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start") (local $state i64) (local $turns i64) (local $cell i32) (local $got i32)
    (loop $more
      (i32.store (i32.const 0) (i32.add (i32.const 16) (local.get $got)))
      (i32.store (i32.const 4) (i32.sub (i32.const 8) (local.get $got)))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (if (i32.eqz (i32.load (i32.const 8))) (then unreachable))
      (local.set $got (i32.add (local.get $got) (i32.load (i32.const 8))))
      (br_if $more (i32.lt_u (local.get $got) (i32.const 8))))
    (local.set $state (i64.load (i32.const 16)))
    (local.set $turns (i64.const {TURNS}))
    (loop $again
      (local.set $state (i64.xor (local.get $state) (i64.shl (local.get $state) (i64.const {first}))))
      (local.set $state (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const {second}))))
      (local.set $state (i64.xor (local.get $state) (i64.shl (local.get $state) (i64.const {third}))))
      (local.set $state (i64.add (i64.mul (local.get $state) (i64.const {factor})) (i64.const {term})))
      (local.set $cell
        (i32.add (i32.const {table})
          (i32.shl (i32.wrap_i64 (i64.shr_u (local.get $state) (i64.const {CELL_SHIFT}))) (i32.const 3))))
      (local.set $state (i64.xor (local.get $state) (i64.load (local.get $cell))))
      (i64.store (local.get $cell) (local.get $state))
      (local.set $turns (i64.sub (local.get $turns) (i64.const 1)))
      (br_if $again (i64.ne (local.get $turns) (i64.const 0))))
    (i64.store (i32.const 16) (local.get $state))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 8))
    (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))))
"#
    )
}

#[cfg(test)]
mod tests {
    use wasmtime::{Caller, Engine, Extern, Linker, Memory, Module, Store};

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_336_980_123);

    fn millis(id: uuid::Uuid) -> u64 {
        assert_eq!(id.get_version_num(), 7, "an id like any other");
        id.as_u64_pair().0 >> 16
    }

    #[test]
    fn each_node_has_a_program_of_its_own_each_day_and_all_control_planes_the_same() {
        let (today, node) = (day(NOW), NodeId::new());
        let of = |secret: u8, node: NodeId, day: i64| Program::of(&[secret; 32], node, day).unwrap();
        let (first, again) = (of(7, node, today), of(7, node, today));
        assert_eq!((first.ids, first.digest), (again.ids, again.digest));
        assert_eq!(first.ids, Ids::of(&[7; 32], node, today));
        assert!(first.wasm.starts_with(b"\0asm"));
        for other in [of(7, node, today + 1), of(7, NodeId::new(), today), of(8, node, today)] {
            let (one, two) = (first.ids, other.ids);
            assert!(one.account != two.account && one.function != two.function && one.version != two.version);
            assert_ne!(first.digest, other.digest);
        }
        let Ids { account, function, version } = first.ids;
        let times = [millis(account.uuid()), millis(function.uuid()), millis(version.uuid()), beginning(today)];
        assert!(times.is_sorted_by(|one, two| one < two), "{times:?}");
        assert_eq!(learned_as(&[7; 32], today), learned_as(&[7; 32], today));
        assert_ne!(learned_as(&[7; 32], today), learned_as(&[7; 32], today + 1));
    }

    #[test]
    fn a_program_is_known_by_its_ticket_alone() {
        let node = NodeId::new();
        let Ids { account, function, version } = Ids::of(&[7; 32], node, day(NOW));
        let ticket = Ticket {
            purpose: protocol::ticket::Purpose::Run,
            run: protocol::RunId::new(),
            node,
            account,
            function,
            version,
            artifact: Digest([0; 32]),
            lane: protocol::Lane::Wasm,
            limits: Limits::default(),
            epoch: protocol::EpochId::new(),
            issued: NOW,
            expires: NOW,
        };
        assert!(Ids::of(&[7; 32], node, day(NOW)).are_of(&ticket));
        assert!(!Ids::of(&[7; 32], node, day(NOW) - 1).are_of(&ticket));
        let another = Ticket { version: VersionId::new(), ..ticket };
        assert!(!Ids::of(&[7; 32], node, day(NOW)).are_of(&another));
    }

    /// What the program reads and writes.
    struct Pipes {
        input: Vec<u8>,
        output: Vec<u8>,
    }

    fn memory(caller: &mut Caller<'_, Pipes>) -> Memory {
        caller.get_export("memory").and_then(Extern::into_memory).unwrap()
    }

    fn word(memory: Memory, caller: &Caller<'_, Pipes>, at: usize) -> usize {
        let mut bytes = [0; 4];
        memory.read(caller, at, &mut bytes).unwrap();
        usize::try_from(u32::from_le_bytes(bytes)).unwrap()
    }

    /// What it writes; its input comes in these pieces.
    fn run(engine: &Engine, program: &Program, seed: u64, piece: usize) -> Vec<u8> {
        let mut linker = Linker::new(engine);
        let at = |pointer: i32| usize::try_from(pointer).unwrap();
        let read = move |mut caller: Caller<'_, Pipes>, _: i32, vectors: i32, _: i32, done: i32| -> i32 {
            let memory = memory(&mut caller);
            let (to, room) = (word(memory, &caller, at(vectors)), word(memory, &caller, at(vectors) + 4));
            let count = room.min(piece).min(caller.data().input.len());
            let bytes: Vec<u8> = caller.data_mut().input.drain(..count).collect();
            memory.write(&mut caller, to, &bytes).unwrap();
            memory.write(&mut caller, at(done), &u32::try_from(count).unwrap().to_le_bytes()).unwrap();
            0
        };
        let write = move |mut caller: Caller<'_, Pipes>, _: i32, vectors: i32, _: i32, done: i32| -> i32 {
            let memory = memory(&mut caller);
            let (from, count) = (word(memory, &caller, at(vectors)), word(memory, &caller, at(vectors) + 4));
            let mut bytes = vec![0; count];
            memory.read(&caller, from, &mut bytes).unwrap();
            memory.write(&mut caller, at(done), &u32::try_from(count).unwrap().to_le_bytes()).unwrap();
            caller.data_mut().output.extend(bytes);
            0
        };
        linker.func_wrap("wasi_snapshot_preview1", "fd_read", read).unwrap();
        linker.func_wrap("wasi_snapshot_preview1", "fd_write", write).unwrap();
        let module = Module::new(engine, &program.wasm).unwrap();
        let mut store = Store::new(engine, Pipes { input: seed.to_le_bytes().to_vec(), output: Vec::new() });
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap();
        start.call(&mut store, ()).unwrap();
        store.into_data().output
    }

    #[test]
    fn a_program_and_its_twin_have_the_same_result() {
        let engine = Engine::default();
        let mut results = std::collections::BTreeSet::new();
        for (number, seed) in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 1 << 63, rand::random()].into_iter().enumerate() {
            let today = day(NOW) + i64::try_from(number).unwrap();
            let program = Program::of(&rand::random(), NodeId::new(), today).unwrap();
            let result = program.result(seed);
            assert_eq!(run(&engine, &program, seed, 8 - number), result, "{:?}, {seed}", program.mix);
            assert_ne!(program.result(seed ^ 2), result, "it depends on the input");
            results.insert(result);
        }
        assert_eq!(results.len(), 6);
    }
}
