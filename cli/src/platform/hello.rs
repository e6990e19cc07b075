//! A WASI command made by hand, so that `up --check` needs no compiler: it answers with a greeting.

/// What it answers.
pub(crate) const GREETING: &str = "Hello from CrowdCloud!\n";

/// The module: `_start` writes the greeting to standard output by one `fd_write`.
pub(crate) fn module() -> Vec<u8> {
    const I32: u8 = 0x7f;
    let text_at = 16_u8;
    let length = u8::try_from(GREETING.len()).unwrap_or(0);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // Types: 0 is fd_write's, 1 is _start's.
    section(&mut module, 1, &[&[2, 0x60, 4, I32, I32, I32, I32, 1, I32, 0x60, 0, 0]]);
    // One import: fd_write.
    section(&mut module, 2, &[&[1], &name("wasi_snapshot_preview1"), &name("fd_write"), &[0, 0]]);
    // One function, of type 1; one memory of one page.
    section(&mut module, 3, &[&[1, 1]]);
    section(&mut module, 5, &[&[1, 0, 1]]);
    section(&mut module, 7, &[&[2], &name("memory"), &[2, 0], &name("_start"), &[0, 1]]);
    // fd_write(1, &iovec at 0, 1, &written at 8); drop; end.
    let code = [0, 0x41, 1, 0x41, 0, 0x41, 1, 0x41, 8, 0x10, 0, 0x1a, 0x0b];
    section(&mut module, 10, &[&[1, 13], &code]);
    // At 0 the iovec {pointer, length}, at 16 the text.
    let iovec = [text_at, 0, 0, 0, length, 0, 0, 0];
    section(
        &mut module,
        11,
        &[&[2, 0, 0x41, 0, 0x0b, 8], &iovec, &[0, 0x41, text_at, 0x0b, length], GREETING.as_bytes()],
    );
    module
}

/// Appends a section; all here are shorter than 128 bytes, so one byte is their length.
fn section(module: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    module.push(id);
    module.push(u8::try_from(length).ok().filter(|length| *length < 128).unwrap_or(0));
    module.extend(parts.iter().flat_map(|part| part.iter()));
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len()).unwrap_or(0)];
    bytes.extend(text.as_bytes());
    bytes
}
