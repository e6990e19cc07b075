//! WASI commands, byte by byte: some take long to compile, one computes.

/// A command of so many functions of so many steps each: the more, the longer it compiles. `mark` makes it another.
pub(super) fn program(functions: u32, steps: u32, mark: u32) -> Vec<u8> {
    let step = |at: u32| [&[0x20, 0x00, 0x41][..], &number(at & 0x3f), &[0x6c, 0x20, 0x00, 0x73, 0x21, 0x00]].concat();
    let body: Vec<u8> = (0..steps).flat_map(step).collect();
    let work = sized(&[&[0x00][..], &body, &[0x20, 0x00, 0x0b]].concat());
    module(&[0x00, 0x0b], functions, &work, mark)
}

/// A command that goes round so often, and says nothing: its time is CPU time.
pub(super) fn computing(rounds: u32) -> Vec<u8> {
    // local i32; i = rounds; loop { i -= 1; if i != 0 continue }
    let begin = [&[0x01, 0x01, 0x7f, 0x41][..], &number(rounds), &[0x21, 0x00]].concat();
    let turn = [0x03, 0x40, 0x20, 0x00, 0x41, 0x01, 0x6b, 0x22, 0x00, 0x0d, 0x00, 0x0b, 0x0b];
    module(&[&begin[..], &turn].concat(), 0, &[], 0)
}

fn module(start: &[u8], functions: u32, work: &[u8], mark: u32) -> Vec<u8> {
    let mut code = [number(functions + 1), sized(start)].concat();
    (0..functions).for_each(|_| code.extend_from_slice(work));
    let types = [0x02, 0x60, 0x00, 0x00, 0x60, 0x01, 0x7f, 0x01, 0x7f];
    let mut kinds = number(functions + 1);
    kinds.push(0x00);
    kinds.extend(std::iter::repeat_n(0x01, functions as usize));
    let exports = [&[0x02, 0x06][..], b"_start", &[0x00, 0x00, 0x06], b"memory", &[0x02, 0x00]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(0, &[sized(b"mark"), mark.to_be_bytes().to_vec()].concat()),
        section(1, &types),
        section(3, &kinds),
        section(5, &[0x01, 0x00, 0x01]),
        section(7, &exports),
        section(10, &code),
    ]
    .concat()
}

/// LEB128. As a signed number it is the same where the last byte is below 64, as it is for what is asked for here.
fn number(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [number(u32::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
}

fn section(id: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![id], sized(bytes)].concat()
}
