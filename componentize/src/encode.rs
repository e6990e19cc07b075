//! The encoding of a core module, with the types that its bindings left in custom sections, as a component.

use wasmparser::{Parser, Payload};

/// Why a module cannot become a component.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The bytes are not WebAssembly.
    #[error("this is not WebAssembly: {0}")]
    NotWasm(String),
    /// The module's imports and exports do not fit the types that it states.
    #[error("the module cannot be made a component: {0}")]
    Encode(String),
}

/// What stands in front of component types in a core module.
const TYPE_SECTION_PREFIX: &str = "component-type";

/// The component of this core module. What is a component already, or says nothing about component types (a WASI
/// command of preview 1), is returned as it is: the platform judges it.
///
/// # Errors
/// When the bytes are not WebAssembly, or the encoder refuses the module.
pub fn component(wasm: &[u8]) -> Result<Vec<u8>, EncodeError> {
    if !Parser::is_component(wasm) && has_component_types(wasm)? {
        encode(wasm).map_err(|error| EncodeError::Encode(format!("{error:#}")))
    } else {
        Ok(wasm.to_vec())
    }
}

fn encode(wasm: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(wit_component::ComponentEncoder::default().validate(true).module(wasm)?.encode()?)
}

fn has_component_types(wasm: &[u8]) -> Result<bool, EncodeError> {
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|error| EncodeError::NotWasm(error.to_string()))? {
            Payload::CustomSection(section) if section.name().starts_with(TYPE_SECTION_PREFIX) => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn what_states_no_component_types_stays_as_it_is() {
        assert_eq!(component(EMPTY_MODULE).unwrap(), EMPTY_MODULE);
        assert_eq!(component(EMPTY_COMPONENT).unwrap(), EMPTY_COMPONENT);
    }

    #[test]
    fn what_is_not_wasm_is_said_to_be_so() {
        assert!(matches!(component(b"\x7fELF"), Err(EncodeError::NotWasm(_))));
    }

    #[test]
    fn types_that_cannot_be_read_are_refused() {
        let name = b"component-type:x";
        let mut module = EMPTY_MODULE.to_vec();
        module.extend([0, 1 + 16 + 2, 16]);
        module.extend(name);
        module.extend([0xff, 0xff]);
        assert!(matches!(component(&module), Err(EncodeError::Encode(_))));
    }
}
