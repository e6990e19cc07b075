//! Caps of a node: what is in force with its use, what was agreed on the machine, and a form that lowers them.

use protocol::ByteSize;
use protocol::api::NodeDetails;
use protocol::node::{Caps, CapsWish, NodeWish};
use sycamore::prelude::*;

use super::Shown;
use super::actions::{caps_wished, pause_kept};
use crate::api::{Result, Trouble};
use crate::calls;
use crate::format;
use crate::load::Action;
use crate::ui::form::{Control, Field, Form, Part, Text, sending};
use crate::ui::page;

const ABOUT: &str = "What is lent at most. From here it is only lowered: raise it on the machine, with crowdcloud lend \
    caps set up to what was agreed, and with the flags of crowdcloud lend beyond that.";

/// The section.
pub(super) fn caps(shown: &Shown, first: &NodeDetails) -> View {
    let now = shown.now;
    // Who may not see them is shown none.
    if first.agreed.is_none() && first.now.is_none() && !shown.owns {
        return view! {};
    }
    let table = View::from_dynamic(move || table(&now.get_clone()));
    let form = if shown.owns {
        form(shown, first)
    } else {
        view! {}
    };
    page::section("Caps", ABOUT, view! { (table) (form) })
}

fn used(used: ByteSize, cap: ByteSize) -> String {
    format!("{} of {}", format::bytes(used.0), format::bytes(cap.0))
}

fn lent(egress: bool) -> String {
    let word = if egress { "lent" } else { "not lent" };
    word.to_owned()
}

fn unknown() -> String {
    "–".to_owned()
}

/// Each cap: its name, what is in force, what was agreed.
fn rows(detail: &NodeDetails) -> [(&'static str, String, String); 5] {
    let agreed = |of: &dyn Fn(&Caps) -> String| detail.agreed.as_ref().map_or_else(unknown, of);
    let traffic =
        |caps: &Caps| caps.traffic.map_or_else(|| "as much as there is".to_owned(), |cap| format::bytes(cap.0));
    let [cores, memory, disk, month, egress] = match &detail.now {
        None => [(); 5].map(|()| unknown()),
        Some(status) => [
            status.caps.cores.to_string(),
            used(status.memory_used, status.caps.memory),
            used(status.disk_used, status.caps.disk),
            match status.caps.traffic {
                Some(cap) => used(status.traffic_used, cap),
                None => format!("{}, without a cap", format::bytes(status.traffic_used.0)),
            },
            lent(status.caps.egress),
        ],
    };
    [
        ("Cores", cores, agreed(&|caps| caps.cores.to_string())),
        ("Memory", memory, agreed(&|caps| format::bytes(caps.memory.0))),
        ("Disk space", disk, agreed(&|caps| format::bytes(caps.disk.0))),
        ("Traffic of this month", month, agreed(&traffic)),
        ("Connections to other hosts", egress, agreed(&|caps| lent(caps.egress))),
    ]
}

fn table(detail: &NodeDetails) -> View {
    let rows: Vec<View> = rows(detail)
        .into_iter()
        .map(|(name, now, agreed)| {
            view! {
                tr {
                    td(data-label="Cap") { b { (name) } }
                    td(data-label="In force", class="number") { (now) }
                    td(data-label="Agreed", class="number soft") { (agreed) }
                }
            }
        })
        .collect();
    view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Cap" }
                    th(scope="col", class="number") { "Used, and in force" }
                    th(scope="col", class="number") { "Agreed on the machine" }
                }
            }
            tbody { (rows) }
        }
    }
}

/// The fields, as they are written.
#[derive(Clone, Copy)]
struct Fields {
    cores: Signal<String>,
    memory: Signal<String>,
    disk: Signal<String>,
    traffic: Signal<String>,
    egress: Signal<String>,
}

impl Fields {
    fn of(wish: &CapsWish) -> Self {
        let size = |size: Option<ByteSize>| create_signal(size.map_or(String::new(), |size| size.to_string()));
        Self {
            cores: create_signal(wish.cores.map_or(String::new(), |cores| cores.to_string())),
            memory: size(wish.memory),
            disk: size(wish.disk),
            traffic: size(wish.traffic),
            egress: create_signal(if wish.egress == Some(false) { "off" } else { "" }.to_owned()),
        }
    }

    /// As values; untracked.
    fn read(self) -> Result<CapsWish> {
        let text = |field: Signal<String>| field.with_untracked(|text| text.trim().to_owned());
        Ok(CapsWish {
            cores: cores(&text(self.cores))?,
            memory: size("caps.memory", &text(self.memory))?,
            disk: size("caps.disk", &text(self.disk))?,
            traffic: size("caps.traffic", &text(self.traffic))?,
            egress: (text(self.egress) == "off").then_some(false),
        })
    }
}

/// Nothing where nothing is written: as it was agreed.
fn cores(text: &str) -> Result<Option<u32>> {
    let wrong =
        |_| Trouble::of_input("caps.cores", format!("`{text}` is no number of cores."), "Write a whole number.");
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(wrong) }
}

fn size(input: &'static str, text: &str) -> Result<Option<ByteSize>> {
    let wrong = |_| Trouble::of_input(input, format!("`{text}` is no size."), "Write a size, such as 1.5GiB.");
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(wrong) }
}

fn form(shown: &Shown, first: &NodeDetails) -> View {
    let fields = Fields::of(&caps_wished(first));
    // What the fields were filled from, as the platform had it.
    let filled = create_signal((caps_wished(first), first.etag.clone()));
    let saved = create_signal(false);
    let of_send = shown.clone();
    let send = sending(move || {
        let (account, id, data) = (of_send.account.clone(), of_send.id, of_send.data);
        let (pause, etag) = of_send.now.with_untracked(|now| {
            let (caps, etag) = filled.get_clone_untracked();
            // A pause since then is no other caps.
            (pause_kept(now), if caps_wished(now) == caps { now.etag.clone() } else { etag })
        });
        saved.set(false);
        async move {
            let wish = NodeWish { caps: fields.read()?, pause };
            let detail = calls::nodes::wish(&account, id, etag.as_deref(), &wish).await?;
            filled.set((caps_wished(&detail), detail.etag.clone()));
            data.put(Ok(detail));
            saved.set(true);
            Ok(())
        }
    });
    let line = |name| Text { name, optional: true, ..Text::default() };
    let egress = [("", "as agreed"), ("off", "not lent")].map(|(value, label)| (value.to_owned(), label.to_owned()));
    let egress = Control::Menu("egress", *create_signal(egress.to_vec()));
    let cores = Text { inputmode: "numeric", ..line("cores") };
    let sized = |name, label, value| Field::new(&format!("caps.{name}"), label, Control::Line(line(name)), value);
    let told = View::from_dynamic(move || {
        let words = if saved.get() { "In force" } else { "" };
        view! { span(role="status", class="good-text") { (words) } }
    });
    let form = Form {
        parts: vec![Part::Noted(
            "Lend less",
            vec![
                Field::new("caps.cores", "Cores", Control::Line(cores), fields.cores),
                sized("memory", "Memory", fields.memory),
                sized("disk", "Disk space", fields.disk),
                sized("traffic", "Traffic of a month", fields.traffic),
                Field::new("caps.egress", "Other hosts", egress, fields.egress),
            ],
            std::rc::Rc::new(|| "What is left empty is as it was agreed.".to_owned()),
        )],
        action: Action::new(),
        submit: "Lend less",
        busy: "Telling the machine…",
        beside: told,
        send,
    };
    let form = form.view();
    view! { div(class="caps-form") { (form) } }
}

#[cfg(test)]
mod tests {
    use protocol::ByteSize;

    use super::{cores, size};

    #[test]
    fn what_is_left_empty_is_as_agreed_and_what_cannot_be_read_names_its_field() {
        assert_eq!((cores("").unwrap(), cores("2").unwrap()), (None, Some(2)));
        assert!(cores("two").unwrap_err().is_about(&["caps.cores"]));
        assert_eq!(size("caps.disk", "1GiB").unwrap(), Some(ByteSize::mib(1024)));
        assert!(size("caps.disk", "much").unwrap_err().is_about(&["caps.disk"]));
    }
}
