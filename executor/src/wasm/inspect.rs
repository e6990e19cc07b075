//! What an artifact is, found before it is compiled: a pure look at its bytes that names what is wrong with it.

use protocol::{Code, Problem};
use wasm_host::Format;
use wasmparser::types::TypesRef;
use wasmparser::{Encoding, ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures};

use super::entry::{self, Entry};

const HTTP_EXPORT: &str = "wasi:http/incoming-handler";
const COMMAND_EXPORT: &str = "wasi:cli/run";
const HTTP_TYPES: &str = "wasi:http/types";
const P1: &str = "wasi_snapshot_preview1";

/// What components may import, of version 0.2.
const INTERFACES: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// What modules may import from WASI p1.
const P1_FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Names at the outermost level.
#[derive(Default)]
struct Surface {
    component: bool,
    imports: Vec<String>,
    /// Of a module: where from and what.
    module_imports: Vec<(String, String, bool)>,
    exports: Vec<String>,
    starts: bool,
}

/// Says what an artifact is.
///
/// # Errors
/// The problem that a deployer must mend.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Format, Problem> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Problem::new(Code::NotWasm, not_wasm(bytes)));
    }
    let invalid = |error: wasmparser::BinaryReaderError| Problem::new(Code::InvalidWasm, error.to_string());
    let types = Validator::new_with_features(features()).validate_all(bytes).map_err(invalid)?;
    let surface = surface(bytes).map_err(invalid)?;
    if surface.component { component(&surface, types.as_ref()) } else { module(&surface, types.as_ref()) }
}

fn features() -> WasmFeatures {
    WasmFeatures::default().difference(WasmFeatures::THREADS)
}

fn not_wasm(bytes: &[u8]) -> String {
    let looks_like = match bytes {
        [] => "it is empty",
        [0x7f, b'E', b'L', b'F', ..] => "it is an ELF executable",
        [b'P', b'K', ..] => "it is a ZIP archive",
        [0x1f, 0x8b, ..] => "it is a gzip file",
        [b'#', b'!', ..] => "it is a script",
        _ if bytes.is_ascii() => "it is text",
        _ => "it does not begin as WebAssembly does",
    };
    format!("the artifact is not WebAssembly: {looks_like}")
}

fn surface(bytes: &[u8]) -> Result<Surface, wasmparser::BinaryReaderError> {
    let mut surface = Surface::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            Payload::Version { encoding, .. } => surface.component = encoding == Encoding::Component,
            Payload::ComponentImportSection(section) => {
                for import in section {
                    surface.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    surface.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let function = matches!(import.ty, TypeRef::Func(_));
                    surface.module_imports.push((import.module.to_owned(), import.name.to_owned(), function));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    surface.starts |= export.name == entry::START && export.kind == ExternalKind::Func;
                    surface.exports.push(export.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

/// An interface's name without its version, where the version is 0.2.
fn p2_name(name: &str) -> Option<&str> {
    let (interface, version) = name.split_once('@')?;
    let rest = version.strip_prefix("0.2.")?;
    rest.bytes().all(|byte| byte.is_ascii_digit()).then_some(interface)
}

/// The names of an interface's versions among these.
fn of_interface<'a>(interface: &str, names: &'a [String]) -> Vec<&'a str> {
    names.iter().map(String::as_str).filter(|name| p2_name(name) == Some(interface)).collect()
}

fn component(surface: &Surface, types: TypesRef<'_>) -> Result<Format, Problem> {
    let exports = |wanted: &str| surface.exports.iter().any(|name| p2_name(name) == Some(wanted));
    let (format, interface, entry) = if exports(HTTP_EXPORT) {
        (Format::HttpComponent, HTTP_EXPORT, Entry::Handle)
    } else if exports(COMMAND_EXPORT) {
        (Format::CommandComponent, COMMAND_EXPORT, Entry::Run)
    } else if surface.exports.is_empty() {
        return Err(Problem::new(Code::NoEntryPoint, "the component exports nothing"));
    } else {
        let names: Vec<&str> = surface.exports.iter().take(5).map(String::as_str).collect();
        let detail =
            format!("the component exports {}, and neither {HTTP_EXPORT} nor {COMMAND_EXPORT}", names.join(", "));
        let problem = Problem::new(Code::WrongWorld, detail);
        let newer = surface.exports.iter().any(|name| name.starts_with("wasi:") && name.contains("@0.3."));
        return Err(if newer { problem.with_help("WASI 0.3 is not offered; target WASI 0.2.") } else { problem });
    };
    if let Some(name) =
        surface.imports.iter().find(|name| !p2_name(name).is_some_and(|name| INTERFACES.contains(&name)))
    {
        return Err(unknown_import(name));
    }
    let http_types = of_interface(HTTP_TYPES, &surface.imports);
    for export in of_interface(interface, &surface.exports) {
        entry::check_component(types, export, entry, &http_types)?;
    }
    Ok(format)
}

fn module(surface: &Surface, types: TypesRef<'_>) -> Result<Format, Problem> {
    let offered = |(module, name, function): &&(String, String, bool)| {
        *function && module == P1 && P1_FUNCTIONS.contains(&name.as_str())
    };
    if !surface.starts {
        let detail = match surface.exports.as_slice() {
            [] => "the module exports nothing".to_owned(),
            names => format!("the module exports {}, but no function `_start`", names[..names.len().min(5)].join(", ")),
        };
        return Err(Problem::new(Code::NoEntryPoint, detail));
    }
    if let Some((module, name, _)) = surface.module_imports.iter().find(|import| !offered(import)) {
        return Err(unknown_import(&format!("{module}.{name}")));
    }
    entry::check_module(types, !surface.module_imports.is_empty())?;
    Ok(Format::Module)
}

fn unknown_import(name: &str) -> Problem {
    Problem::new(Code::UnknownImport, format!("it imports `{name}`, which is not offered"))
}

#[cfg(test)]
mod tests {
    use protocol::Code;

    use super::{Format, inspect};

    fn wat(text: &str) -> Result<Format, (Code, String)> {
        inspect(&wat::parse_str(text).unwrap()).map_err(|problem| (problem.code, problem.detail))
    }

    fn code(result: Result<Format, (Code, String)>) -> Code {
        result.unwrap_err().0
    }

    #[test]
    fn formats_are_recognised() {
        assert_eq!(wat("(module (func (export \"_start\")))"), Ok(Format::Module));
        let p1 = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
                            (memory (export "memory") 1) (func (export "_start")))"#;
        assert_eq!(wat(p1), Ok(Format::Module));
        // Components are beside the checks of their exports.
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(inspect(b"").unwrap_err().code, Code::NotWasm);
        assert!(inspect(b"#!/bin/sh\n").unwrap_err().detail.contains("a script"));
        assert!(inspect(b"\x7fELF\x02").unwrap_err().detail.contains("ELF"));
        assert_eq!(inspect(b"\0asm\x01\0\0\0\xff\xff").unwrap_err().code, Code::InvalidWasm);
        assert_eq!(code(wat("(module)")), Code::NoEntryPoint);
        assert_eq!(code(wat("(module (func (export \"main\")))")), Code::NoEntryPoint);
        assert_eq!(code(wat("(module (global (export \"_start\") i32 i32.const 1))")), Code::NoEntryPoint);
        assert_eq!(code(wat("(component)")), Code::NoEntryPoint);
        assert_eq!(code(wat("(component (instance $i) (export \"a:b/c\" (instance $i)))")), Code::WrongWorld);
        let p3 = "(component (instance $i) (export \"wasi:http/handler@0.3.0\" (instance $i)))";
        assert_eq!(code(wat(p3)), Code::WrongWorld);
    }

    #[test]
    fn an_import_that_is_not_offered_is_named() {
        let module = wat(r#"(module (import "env" "abort" (func)) (func (export "_start")))"#).unwrap_err();
        assert_eq!(module, (Code::UnknownImport, "it imports `env.abort`, which is not offered".to_owned()));
        let text = r#"(component (import "wasi:nn/graph@0.2.0" (instance))
                                 (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;
        let (code, detail) = wat(text).unwrap_err();
        assert_eq!(code, Code::UnknownImport);
        assert!(detail.contains("wasi:nn/graph@0.2.0"));
    }

    #[test]
    fn threads_are_refused() {
        let module = "(module (memory 1 2 shared) (func (export \"_start\")))";
        assert_eq!(code(wat(module)), Code::InvalidWasm);
    }

    #[test]
    fn truncated_and_flipped_bytes_never_panic() {
        let whole = r#"(component (core module $m (func (export "f") (result i32) i32.const 0))
            (core instance $i (instantiate $m)) (func $f (result (result)) (canon lift (core func $i "f")))
            (instance $run (export "run" (func $f))) (export "wasi:cli/run@0.2.0" (instance $run)))"#;
        let whole = wat::parse_str(whole).unwrap();
        assert_eq!(inspect(&whole).unwrap(), Format::CommandComponent);
        for length in 0..whole.len() {
            drop(inspect(&whole[..length]));
            let mut flipped = whole.clone();
            flipped[length] ^= 0x55;
            drop(inspect(&flipped));
        }
    }
}
