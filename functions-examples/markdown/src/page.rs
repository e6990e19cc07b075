//! Markdown to a complete page. Raw HTML is shown, not obeyed: the text may be anybody's.

use std::sync::LazyLock;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html};
use syntect::html::{ClassStyle, ClassedHTMLGenerator};
use syntect::parsing::SyntaxSet;
use syntect::util::LinesWithEndings;

const STYLE: &str = include_str!("page.css");

/// Loaded when there is code to highlight: it takes longer than everything else.
static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(SyntaxSet::load_defaults_newlines);

/// The page of this text.
pub fn render(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_SMART_PUNCTUATION
        | Options::ENABLE_GFM;
    let events: Vec<Event<'_>> = Parser::new_ext(markdown, options).collect();
    let title = title(&events).unwrap_or_else(|| "Untitled".to_owned());
    let mut body = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut body, Blocks { events: events.into_iter() });
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(&title)
    )
}

/// The first heading's text.
fn title(events: &[Event<'_>]) -> Option<String> {
    let start = events.iter().position(|event| matches!(event, Event::Start(Tag::Heading { .. })))?;
    let inside = events[start..].iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let text: String = inside
        .filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect();
    (!text.is_empty()).then_some(text)
}

/// The events, with code blocks highlighted and everything that a browser would obey made harmless.
struct Blocks<I> {
    events: I,
}

impl<'a, I: Iterator<Item = Event<'a>>> Iterator for Blocks<I> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        Some(match self.events.next()? {
            Event::Start(Tag::CodeBlock(kind)) => {
                let mut code = String::new();
                for event in self.events.by_ref() {
                    match event {
                        Event::Text(text) => code.push_str(&text),
                        Event::End(TagEnd::CodeBlock) => break,
                        _ => {}
                    }
                }
                let language = match &kind {
                    CodeBlockKind::Fenced(info) => info.split([' ', ',']).next().unwrap_or_default(),
                    CodeBlockKind::Indented => "",
                };
                Event::Html(highlight(&code, language).into())
            }
            Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                Event::Start(Tag::Link { link_type, dest_url: harmless(dest_url), title, id })
            }
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                Event::Start(Tag::Image { link_type, dest_url: harmless(dest_url), title, id })
            }
            other => other,
        })
    }
}

/// Only addresses that do not run code.
fn harmless(address: CowStr<'_>) -> CowStr<'_> {
    let scheme = address.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) if scheme.contains(['/', '?', '#']) => address,
        Some("http" | "https" | "mailto") | None => address,
        Some(_) => "#".into(),
    }
}

fn highlight(code: &str, language: &str) -> String {
    let coloured = if language.is_empty() { None } else { colour(code, language) };
    let class = if language.is_empty() { String::new() } else { format!(" class=\"language-{}\"", escape(language)) };
    format!("<pre><code{class}>{}</code></pre>\n", coloured.unwrap_or_else(|| escape(code)))
}

fn colour(code: &str, language: &str) -> Option<String> {
    let syntax = SYNTAXES.find_syntax_by_token(language)?;
    let mut generator =
        ClassedHTMLGenerator::new_with_class_style(syntax, &SYNTAXES, ClassStyle::SpacedPrefixed { prefix: "s-" });
    for line in LinesWithEndings::from(code) {
        generator.parse_html_for_line_which_includes_newline(line).ok()?;
    }
    Some(generator.finalize())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_complete() {
        let page = render("# A *title* & more\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- [x] done\n");
        assert!(page.starts_with("<!doctype html>"));
        assert!(page.contains("<title>A title &amp; more</title>"), "{page}");
        assert!(page.contains("<table>") && page.contains("type=\"checkbox\""), "{page}");
        assert!(page.ends_with("</html>\n"));
    }

    #[test]
    fn code_is_highlighted_by_its_language() {
        let page = render("```rust\nfn main() { let x = \"<b>\"; }\n```\n");
        assert!(page.contains("s-keyword") || page.contains("s-storage"), "{page}");
        assert!(page.contains("&lt;b&gt;"), "{page}");
        assert!(render("```klingon\na < b\n```").contains("a &lt; b"));
        assert!(render("    indented < code").contains("indented &lt; code"));
    }

    #[test]
    fn raw_html_and_scripts_are_harmless() {
        let page =
            render("<script>alert(1)</script>\n\nx <img src=x onerror=alert(1)> [a](javascript:alert(1)) [b](/c:d)");
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(!page.contains("javascript:"), "{page}");
        assert!(page.contains("href=\"/c:d\""), "{page}");
    }

    #[test]
    fn an_empty_text_is_a_page_too() {
        assert!(render("").contains("<title>Untitled</title>"));
    }
}
