//! Whether what a lane calls, or needs to find, has the type that it expects. A lane itself would see that only when a
//! run begins, and end each run with a trap.

use protocol::{Code, Problem};
use wasmparser::FuncType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentInstanceTypeId,
    ComponentValType, ResourceId,
};
use wasmparser::types::{EntityType, TypesRef};

/// A module's entry point.
pub(super) const START: &str = "_start";
/// Where WASI p1 finds what a module's pointers mean.
const MEMORY: &str = "memory";

/// The function of an interface that a component exports, and that a lane calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// `wasi:http/incoming-handler`
    Handle,
    /// `wasi:cli/run`
    Run,
}

impl Entry {
    fn name(self) -> &'static str {
        match self {
            Self::Handle => "handle",
            Self::Run => "run",
        }
    }

    /// As WIT writes it.
    fn wanted(self) -> &'static str {
        match self {
            Self::Handle => "func(request: own<incoming-request>, response-out: own<response-outparam>)",
            Self::Run => "func() -> result",
        }
    }
}

/// Checks `_start`, and the memory where the module imports functions of WASI.
pub(super) fn check_module(types: TypesRef<'_>, uses_wasi: bool) -> Result<(), Problem> {
    let export = |wanted: &str| types.core_exports()?.find(|(name, _)| *name == wanted).map(|(_, of)| of);
    if let Some(EntityType::Func(id) | EntityType::FuncExact(id)) = export(START) {
        let start = types[id].unwrap_func();
        if !start.params().is_empty() || !start.results().is_empty() {
            let detail = format!("`{START}` is {}, and a command's takes and returns nothing", told(start));
            return Err(
                wrong(detail).with_help(format!("Export `{START}` as a function without parameters and results."))
            );
        }
    }
    if uses_wasi && !matches!(export(MEMORY), Some(EntityType::Memory(_))) {
        let detail = format!("the module calls WASI, and exports no memory named `{MEMORY}`");
        return Err(wrong(detail).with_help(format!("Export the module's memory as `{MEMORY}`.")));
    }
    Ok(())
}

/// Checks the function of an exported interface. `http_types` are the names under which the component imports
/// `wasi:http/types`.
pub(super) fn check_component(
    types: TypesRef<'_>,
    export: &str,
    entry: Entry,
    http_types: &[&str],
) -> Result<(), Problem> {
    let instance = types.component_item_for_export(export).and_then(|item| instance(item.ty));
    let function = instance.and_then(|id| types[id].exports.get(entry.name())).map(|item| item.ty);
    let fits = match function {
        Some(ComponentEntityType::Func(id)) => fits(types, &types[id], entry, http_types),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let (name, wanted) = (entry.name(), entry.wanted());
    let detail = match function {
        Some(ComponentEntityType::Func(_)) => format!("`{name}` of `{export}` has another type than `{wanted}`"),
        _ => format!("`{export}` has no function `{name}`"),
    };
    Err(wrong(detail).with_help(format!("Export `{name}: {wanted}`, as the interface has it.")))
}

fn wrong(detail: String) -> Problem {
    Problem::new(Code::NoEntryPoint, detail)
}

fn fits(types: TypesRef<'_>, function: &ComponentFuncType, entry: Entry, http_types: &[&str]) -> bool {
    if function.async_ {
        return false;
    }
    match (entry, &*function.params, function.result) {
        (Entry::Run, [], Some(ComponentValType::Type(id))) => {
            matches!(types[id], ComponentDefinedType::Result { ok: None, err: None, .. })
        }
        (Entry::Handle, [(_, request), (_, response)], None) => {
            let owns = |value: &ComponentValType, resource: &str| {
                let owned = owned(types, *value);
                owned.is_some() && http_types.iter().any(|import| imported(types, import, resource) == owned)
            };
            owns(request, "incoming-request") && owns(response, "response-outparam")
        }
        _ => false,
    }
}

fn owned(types: TypesRef<'_>, value: ComponentValType) -> Option<ResourceId> {
    match value {
        ComponentValType::Type(id) => match &types[id] {
            ComponentDefinedType::Own(resource) => Some(resource.resource()),
            _ => None,
        },
        ComponentValType::Primitive(_) => None,
    }
}

fn imported(types: TypesRef<'_>, import: &str, resource: &str) -> Option<ResourceId> {
    let instance = instance(types.component_item_for_import(import)?.ty)?;
    match types[instance].exports.get(resource)?.ty {
        ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(resource), .. } => Some(resource.resource()),
        _ => None,
    }
}

fn instance(item: ComponentEntityType) -> Option<ComponentInstanceTypeId> {
    match item {
        ComponentEntityType::Instance(id) => Some(id),
        _ => None,
    }
}

/// `(i32, i64) -> (i32)`
fn told(function: &FuncType) -> String {
    let list = |types: &[wasmparser::ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({})", list(function.params()), list(function.results()))
}

#[cfg(test)]
mod tests {
    use protocol::Code;

    use super::super::Format;
    use super::super::inspect::inspect;

    fn look(text: &str) -> Result<Format, (Code, String)> {
        inspect(&wat::parse_str(text).unwrap()).map_err(|problem| (problem.code, problem.detail))
    }

    fn refused(text: &str, said: &str) {
        let (code, detail) = look(text).unwrap_err();
        assert!(code == Code::NoEntryPoint && detail.contains(said), "{text}: {code} {detail}");
    }

    /// A command with this `run`: its type in WIT's order, and what its core function takes and returns.
    fn command(export: &str, of: &str, core: &str) -> String {
        format!(
            "(component (core module $m (func (export \"f\") {core} unreachable))
               (core instance $i (instantiate $m))
               (func $f {of} (canon lift (core func $i \"f\")))
               (instance $run (export \"{export}\" (func $f)))
               (export \"wasi:cli/run@0.2.3\" (instance $run)))"
        )
    }

    /// A handler with these parameters, of the resources that it imports or makes.
    fn handler(params: &str) -> String {
        format!(
            "(component
               (import \"wasi:http/types@0.2.3\" (instance $types
                 (export \"incoming-request\" (type (sub resource)))
                 (export \"response-outparam\" (type (sub resource)))))
               (alias export $types \"incoming-request\" (type $request))
               (alias export $types \"response-outparam\" (type $response))
               (core module $m (func (export \"f\") (param i32 i32)))
               (core instance $i (instantiate $m))
               (func $f {params} (canon lift (core func $i \"f\")))
               (instance $handler (export \"handle\" (func $f)))
               (export \"wasi:http/incoming-handler@0.2.3\" (instance $handler)))"
        )
    }

    #[test]
    fn f33_a_start_that_cannot_be_called_is_refused() {
        refused("(module (func (export \"_start\") (param i32)))", "(i32) -> ()");
        refused("(module (func (export \"_start\") (result i32) i32.const 0))", "() -> (i32)");
        let imported = "(module (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $f (result i32)))
                                (memory (export \"memory\") 1) (export \"_start\" (func $f)))";
        refused(imported, "() -> (i32)");
    }

    #[test]
    fn f33_a_module_that_calls_wasi_exports_its_memory() {
        let yields = |memory: &str| {
            format!(
                "(module (import \"wasi_snapshot_preview1\" \"sched_yield\" (func (result i32)))
                         {memory} (func (export \"_start\")))"
            )
        };
        assert_eq!(look(&yields("(memory (export \"memory\") 1)")), Ok(Format::Module));
        refused(&yields("(memory 1)"), "no memory");
        refused(&yields("(global (export \"memory\") i32 i32.const 1)"), "no memory");
        assert_eq!(look("(module (func (export \"_start\")))"), Ok(Format::Module), "it needs none");
    }

    #[test]
    fn f33_a_run_of_another_type_is_refused() {
        assert_eq!(look(&command("run", "(result (result))", "(result i32)")), Ok(Format::CommandComponent));
        refused(&command("run", "(param \"a\" u32) (result (result))", "(param i32) (result i32)"), "another type");
        refused(&command("run", "", ""), "another type");
        refused(&command("run", "(result u32)", "(result i32)"), "another type");
        refused(&command("run", "(result bool)", "(result i32)"), "another type");
        refused(&command("walk", "(result (result))", "(result i32)"), "no function `run`");
    }

    #[test]
    fn f33_a_handler_of_another_type_is_refused() {
        let good = "(param \"request\" (own $request)) (param \"response-out\" (own $response))";
        assert_eq!(look(&handler(good)), Ok(Format::HttpComponent));
        let swapped = "(param \"request\" (own $response)) (param \"response-out\" (own $request))";
        for bad in [swapped, "(param \"a\" u32) (param \"b\" u32)"] {
            refused(&handler(bad), "another type");
        }
        let empty = "(component (instance $i) (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))";
        refused(empty, "no function `handle`");
    }
}
