//! Light, dark, or as the system says; remembered in this browser.

use sycamore::prelude::*;

use super::icon;

const KEY: &str = "theme";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    fn stored() -> Self {
        match storage().and_then(|storage| storage.get_item(KEY).ok().flatten()).as_deref() {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::System,
        }
    }

    fn next(self) -> Self {
        match self {
            Self::System => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::System,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn apply(self) {
        let Some(root) = document().document_element() else { return };
        if self == Self::System {
            drop(root.remove_attribute("data-theme"));
            storage().map(|storage| storage.remove_item(KEY));
        } else {
            drop(root.set_attribute("data-theme", self.name()));
            storage().map(|storage| storage.set_item(KEY, self.name()));
        }
    }
}

fn storage() -> Option<web_sys::Storage> {
    window().local_storage().ok().flatten()
}

/// The button that turns through the three.
pub(crate) fn theme_toggle() -> View {
    let theme = create_signal(Theme::stored());
    let turn = move |_| {
        let next = theme.get().next();
        next.apply();
        theme.set(next);
    };
    let label = move || format!("Theme: {}. Change it", theme.get().name());
    view! {
        button(class="quiet square", r#type="button", aria-label=label, title=label, on:click=turn) {
            (match theme.get() {
                Theme::System => icon::icon(icon::SYSTEM),
                Theme::Light => icon::icon(icon::SUN),
                Theme::Dark => icon::icon(icon::MOON),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    /// What text may stand on.
    const GROUNDS: [&str; 4] = ["paper", "sheet", "sunk", "hover"];
    /// What text may be drawn in.
    const TEXTS: [&str; 9] = ["ink", "soft", "faint", "accent", "good", "warn", "bad", "wasm", "vm"];

    /// The tokens, each in light and dark.
    fn tokens() -> BTreeMap<&'static str, [u32; 2]> {
        let line = |line: &'static str| {
            let (name, value) = line.trim().strip_prefix("--")?.split_once(": light-dark(#")?;
            let (light, dark) = value.trim_end_matches(");").split_once(", #")?;
            let colour = |text| u32::from_str_radix(text, 16).ok();
            Some((name, [colour(light)?, colour(dark)?]))
        };
        include_str!("../../style/1-tokens.css").lines().filter_map(line).collect()
    }

    /// Relative luminance, as WCAG 2 defines it.
    fn luminance(colour: u32) -> f64 {
        let part = |shift: u32| {
            let part = f64::from((colour >> shift) & 0xff) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
    }

    fn contrast(one: u32, other: u32) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[track_caller]
    fn stands_out(front: &str, back: &str, least: f64) {
        let tokens = tokens();
        for (scheme, place) in [("light", 0), ("dark", 1)] {
            let apart = contrast(tokens[front][place], tokens[back][place]);
            assert!(apart >= least, "{front} on {back} in {scheme}: {apart:.2} to 1, not {least}");
        }
    }

    #[test]
    fn text_stands_out_from_every_ground() {
        for text in TEXTS {
            for ground in GROUNDS {
                stands_out(text, ground, 4.5);
            }
        }
        for word in ["good", "warn", "bad", "wasm", "vm", "accent"] {
            stands_out(word, &format!("{word}-wash"), 4.5);
        }
        stands_out("soft", "accent-wash", 4.5);
        stands_out("on-accent", "accent", 4.5);
        stands_out("on-accent", "accent-hover", 4.5);
    }

    #[test]
    fn edges_of_fields_stand_out_from_every_ground() {
        for ground in GROUNDS.into_iter().chain(["accent-wash"]) {
            stands_out("edge", ground, 3.0);
        }
    }
}
