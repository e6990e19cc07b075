//! A text as a QR code, for the camera of a phone. It is dark on light in both themes, as cameras expect.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};
use sycamore::prelude::*;

/// Light modules around it, which cameras need.
const QUIET: i32 = 4;

/// The code; nothing where the text is too long for one.
pub(crate) fn qr_code(text: &str) -> View {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return view! {} };
    let size = code.size() + 2 * QUIET;
    let view_box = format!("0 0 {size} {size}");
    let path = path(&code);
    view! {
        svg(class="qr", "role"="img", aria-label="QR code", "viewBox"=view_box, "shape-rendering"="crispEdges") {
            rect(width="100%", height="100%", "fill"="#fff") {}
            path(d=path, "fill"="#000")
        }
    }
}

/// The dark modules, each a square.
fn path(code: &QrCode) -> String {
    let mut path = String::new();
    let places = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
    for (x, y) in places.filter(|(x, y)| code.get_module(*x, *y)) {
        // A string takes whatever is written into it.
        let _ = write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_corners_are_where_cameras_look() {
        let code = QrCode::encode_text("otpauth://totp/CrowdCloud:ada%40example.org", QrCodeEcc::Medium).unwrap();
        let path = path(&code);
        let far = code.size() - 1 + QUIET;
        for corner in [format!("M{QUIET} {QUIET}h"), format!("M{far} {QUIET}h"), format!("M{QUIET} {far}h")] {
            assert!(path.contains(&corner), "{corner}");
        }
    }
}
