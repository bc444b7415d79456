//! Logs, to standard error: what a command prints for its user goes to standard output.
//!
//! In JSON a line is one flat object: `timestamp`, `level`, `target`, `message`, then the event's fields and
//! those of the spans around it, so that a line that concerns an order carries `order_id` and
//! `client_order_id` at its top, whether they were given to the event or to a span.

use std::fmt;
use std::io::{self, IsTerminal};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "app.log_level = {level:?}: {why}; give a level (off, error, warn, info, debug, trace) or a list such as \"info,redis=warn\""
    )]
    Level { level: String, why: String },
    #[error("logging was already set up in this process")]
    AlreadySet,
}

/// Sets up logging for the whole process: as JSON, or for people.
pub fn init(level: &str, json: bool) -> Result<(), TelemetryError> {
    let base = tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(io::stderr);
    let set = if json {
        base.fmt_fields(JsonFields::new()).event_format(FlatJson).try_init()
    } else {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        base.with_ansi(colours).try_init()
    };
    set.map_err(|_| TelemetryError::AlreadySet)
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let refuse = |why: String| TelemetryError::Level { level: level.to_owned(), why };
    for directive in level.split(',').map(str::trim) {
        // A filter takes a lone word that is no level for a target, and would then log next to nothing.
        let lone_word = !directive.contains(['=', '[']);
        if lone_word && (directive.is_empty() || directive.parse::<LevelFilter>().is_err()) {
            return Err(refuse(format!("{directive:?} is not a level")));
        }
    }
    EnvFilter::builder().with_regex(false).parse(level).map_err(|error| refuse(error.to_string()))
}

/// Writes an event as one flat JSON object.
struct FlatJson;

impl<S> FormatEvent<S, JsonFields> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // From the innermost span outwards: what is nearer to the event wins.
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(text) = extensions.get::<FormattedFields<JsonFields>>() else { continue };
            if let Ok(Value::Object(of_span)) = serde_json::from_str(&text.fields) {
                of_span.into_iter().for_each(|(name, value)| fields.add(name, value));
            }
        }

        let mut timestamp = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let meta = event.metadata();
        write!(writer, "{{\"timestamp\":{}", quoted(&timestamp))?;
        write!(writer, ",\"level\":{}", quoted(meta.level().as_str()))?;
        write!(writer, ",\"target\":{}", quoted(meta.target()))?;
        write!(writer, ",\"message\":{}", quoted(&fields.message))?;
        for (name, value) in &fields.others {
            write!(writer, ",{}:{value}", quoted(name))?;
        }
        writer.write_str("}\n")
    }
}

fn quoted(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, name: String, value: Value) {
        // A field may not pose as one of the line's own.
        let name = match name.as_str() {
            "timestamp" | "level" | "target" | "message" => format!("field_{name}"),
            _ => name,
        };
        self.others.entry(name).or_insert(value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text
        } else {
            self.add(field.name().to_owned(), text.into())
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.add(field.name().to_owned(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::subscriber::with_default;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter("info,noisy=warn").unwrap())
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(FlatJson)
            .finish();
        with_default(subscriber, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_flat_and_carries_the_fields_of_its_spans() {
        let lines = lines(|| {
            let span = tracing::info_span!("order", order_id = "o-1", client_order_id = "c-1", attempt = 1);
            let _entered = span.enter();
            tracing::info!(attempt = 2, level = "mine", "sent \"it\"\n{}", "now");
            tracing::debug!("below the level");
        });
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "sent \"it\"\nnow");
        assert_eq!(line["order_id"], "o-1");
        assert_eq!(line["client_order_id"], "c-1");
        assert_eq!(line["attempt"], 2);
        assert_eq!(line["field_level"], "mine");
        assert!(line["target"].as_str().unwrap().ends_with("telemetry::tests"));
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(
            chrono::DateTime::parse_from_rfc3339(timestamp).is_ok() && timestamp.ends_with('Z'),
            "{timestamp}"
        );
    }

    #[test]
    fn targets_have_levels_of_their_own() {
        let lines = lines(|| {
            tracing::info!(target: "noisy", "no");
            tracing::warn!(target: "noisy", "yes");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "yes");
    }

    #[test]
    fn a_bad_level_is_named() {
        for level in ["verbose", "", "info,", "info,redis=loud", "=info,["] {
            let error = filter(level).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with("app.log_level = ") && error.contains(level), "{error}");
        }
        for level in ["info", "WARN", "off", "info,redis=warn,sqlx=off"] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }
}
