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
