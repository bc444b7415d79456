//! The picture as a reader of SVG sees it.

use roxmltree::{Document, Node};

use super::super::knee::knee;
use super::super::report::{Sender, Step};
use super::*;

/// A step whose p50 is `p50_us`, and each further percentile ten times the one before.
fn step(rate: u32, p50_us: u64) -> Step {
    Step {
        rate,
        orders: rate,
        measured: rate,
        offered_per_second: f64::from(rate),
        achieved_per_second: f64::from(rate),
        completed: rate,
        missing: 0,
        failed: 0,
        first_failure: None,
        repeated: 0,
        latency: Latency {
            p50_us,
            p90_us: p50_us * 10,
            p99_us: p50_us * 100,
            p999_us: p50_us * 1000,
            max_us: p50_us * 10_000,
            percentiles: Vec::new(),
        },
        sender: Sender {
            late_p50_us: 0,
            late_p99_us: 0,
            late_max_us: 0,
            pipelines: 1,
            held_up_us: 0,
            is_bottleneck: false,
        },
        in_flight_at_end: 0,
        drain_seconds: 0.0,
    }
}

fn report(steps: Vec<Step>) -> Report {
    Report {
        ok: true,
        arrivals: Arrivals::Uniform,
        seed: 1,
        seconds: 10,
        warmup_seconds: 2,
        symbols: 4,
        tick_us: 1000,
        closed_loop_per_second: None,
        knee: knee(&steps.iter().map(Step::point).collect::<Vec<_>>()),
        steps,
    }
}

/// The circles of one series, from left to right.
fn points(document: &Document<'_>, series: &str) -> Vec<(i32, i32)> {
    let (_, (RGBColor(red, green, blue), _), ..) = SERIES.into_iter().find(|s| s.0 == series).unwrap();
    let fill = format!("#{red:02X}{green:02X}{blue:02X}");
    let number = |node: &Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<i32>().unwrap();
    let circles = document.descendants().filter(|node| node.has_tag_name("circle"));
    let ours = circles.filter(|node| node.attribute("fill") == Some(&fill));
    ours.map(|node| (number(&node, "cx"), number(&node, "cy"))).collect()
}

fn texts(document: &Document<'_>) -> Vec<String> {
    let all = document.descendants().filter(|node| node.has_tag_name("text"));
    all.filter_map(|node| node.text().map(|text| text.trim().to_owned())).collect()
}

#[test]
fn it_is_well_formed_and_shows_every_point_where_it_belongs() {
    let svg = draw(&report(vec![step(100, 10), step(200, 100), step(400, 1000)])).unwrap();
    let document = Document::parse(&svg).unwrap();
    assert!(document.root_element().has_tag_name("svg"));
    for (name, ..) in SERIES {
        let points = points(&document, name);
        assert_eq!(points.len(), 3, "{name}");
        // Rates are linear, to the right; a pixel is lost to rounding.
        let gap = points[1].0 - points[0].0;
        assert!(gap > 50 && (points[2].0 - points[1].0 - 2 * gap).abs() <= 2, "{name}: {points:?}");
        // Latencies are logarithmic, upwards: ten times as much is as far each time.
        let rise = points[0].1 - points[1].1;
        assert!(rise > 20 && (points[1].1 - points[2].1 - rise).abs() <= 1, "{name}: {points:?}");
    }
    // What is equal stands at one height, whatever it is called.
    assert_eq!(points(&document, "p90")[0].1, points(&document, "p50")[1].1);
    for (x, y) in SERIES.iter().flat_map(|(name, ..)| points(&document, name)) {
        assert!((LEFT..960 - RIGHT + 1).contains(&x) && (TOP..560 - BOTTOM + 1).contains(&y), "{x} {y}");
    }
}

#[test]
fn axes_have_names_and_units_and_the_knee_its_mark() {
    let mut slow = step(1200, 10);
    slow.latency.p99_us *= 11;
    let svg = draw(&report(vec![step(400, 10), step(1000, 10), slow])).unwrap();
    let texts = texts(&Document::parse(&svg).unwrap());
    for wanted in ["offered rate (orders/s)", "knee: 1,000/s", "p50", "p99.9", "max", "1", "100", "1,000"] {
        assert!(texts.iter().any(|text| text == wanted), "{wanted} is not in {texts:?}");
    }
    assert!(texts.iter().any(|text| text.starts_with("latency (ms")), "{texts:?}");
    let svg = draw(&report(vec![step(400, 10)])).unwrap();
    assert!(svg.contains("no knee up to 400/s"), "all of it held");
}

#[test]
fn every_colour_has_one_for_the_night() {
    let svg = draw(&report(vec![step(100, 10), step(200, 20)])).unwrap();
    let document = Document::parse(&svg).unwrap();
    let style = document.descendants().find(|node| node.has_tag_name("style")).unwrap().text().unwrap();
    let mut seen = 0;
    for node in document.descendants() {
        for name in ["fill", "stroke"] {
            let Some(colour) = node.attribute(name).filter(|colour| *colour != "none") else { continue };
            assert!(style.contains(&format!("[{name}=\"{colour}\"]{{{name}:#")), "{name} {colour}");
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} colours found");
    assert!(!svg.contains("http") || svg.matches("http").count() == 1, "it needs nothing but itself");
}

#[test]
fn a_sweep_without_any_latency_is_drawn_all_the_same() {
    let mut nothing = step(100, 1);
    nothing.latency =
        Latency { p50_us: 0, p90_us: 0, p99_us: 0, p999_us: 0, max_us: 0, percentiles: Vec::new() };
    Document::parse(&draw(&report(vec![nothing])).unwrap()).unwrap();
}

#[test]
fn labels_never_lie_on_each_other() {
    let places = apart(&[100, 101, 102, 300]);
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_HEIGHT), "{places:?}");
    assert_eq!(apart(&[10, 100]), [10, 100]);
}

#[test]
fn ticks_are_round_and_neither_few_nor_many() {
    for highest in [1.0, 5.0, 7.0, 99.0, 204.0, 1020.0, 11_220.0, 1_000_000.0] {
        let ticks = rate_ticks(highest);
        assert!((2..=9).contains(&ticks.len()), "{highest}: {ticks:?}");
    }
    assert_eq!(rate_ticks(11_220.0), [0.0, 2000.0, 4000.0, 6000.0, 8000.0, 10_000.0]);
    let labelled = |lowest, highest| {
        latency_ticks(lowest, highest)
            .into_iter()
            .filter(|(_, is_labelled)| *is_labelled)
            .map(|(ms, _)| milliseconds(ms))
            .collect::<Vec<_>>()
    };
    assert_eq!(labelled(0.5, 3000.0), ["1", "10", "100", "1,000"]);
    assert_eq!(labelled(0.9, 6.0), ["1", "2", "5"]);
    assert_eq!(grouped(1_234_567), "1,234,567");
}
