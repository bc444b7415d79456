//! The picture of a sweep: latency over offered rate, as an SVG that stands alone.
#![expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places on a picture, not amounts"
)]

use std::fmt::Display;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::coord::combinators::IntoLogRange;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, DashedPathElement, PathElement, Text};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle};

use super::report::{Latency, Report};
use super::schedule::Arrivals;

const SIZE: (u32, u32) = (960, 560);
/// Between the edge and the axes: left, right, top, bottom.
const LEFT: i32 = 92;
const RIGHT: i32 = 84;
const TOP: i32 = 92;
const BOTTOM: i32 = 64;
const LABEL_HEIGHT: i32 = 19;
/// About how wide the label of the knee is.
const KNEE_LABEL: i32 = 150;

/// A colour by day and by night.
type Shade = (RGBColor, RGBColor);
const PAPER: Shade = (RGBColor(255, 255, 255), RGBColor(13, 17, 23));
const INK: Shade = (RGBColor(31, 35, 40), RGBColor(230, 237, 243));
const MUTED: Shade = (RGBColor(89, 99, 110), RGBColor(158, 166, 175));
const LINE: Shade = (RGBColor(201, 209, 217), RGBColor(61, 68, 77));
const FAINT: Shade = (RGBColor(236, 239, 242), RGBColor(30, 36, 43));
const KNEE: Shade = (RGBColor(130, 80, 223), RGBColor(190, 143, 255));

/// A line of the picture: its name, its colour, its width, what of a step it shows.
type Series = (&'static str, Shade, u32, fn(&Latency) -> u64);
const SERIES: [Series; 5] = [
    ("max", (RGBColor(155, 34, 38), RGBColor(255, 107, 107)), 2, |l| l.max_us),
    ("p99.9", (RGBColor(202, 83, 28), RGBColor(255, 157, 92)), 2, |l| l.p999_us),
    ("p99", (RGBColor(168, 120, 0), RGBColor(242, 201, 76)), 3, |l| l.p99_us),
    ("p90", (RGBColor(20, 130, 115), RGBColor(79, 209, 192)), 2, |l| l.p90_us),
    ("p50", (RGBColor(40, 100, 170), RGBColor(121, 176, 240)), 2, |l| l.p50_us),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), String>;

/// Places on the picture for rates and latencies.
struct Scale<'a> {
    place: &'a dyn Fn(f64, f64) -> (i32, i32),
    highest_rate: f64,
    /// Milliseconds.
    lowest: f64,
    highest: f64,
}

/// The picture, as text.
pub(super) fn draw(report: &Report) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&PAPER.0).map_err(text)?;
        let (lowest, highest) = bounds(report);
        let highest_rate = report.steps.iter().map(|step| f64::from(step.rate)).fold(1.0, f64::max) * 1.02;
        let mut chart = ChartBuilder::on(&area);
        chart.margin_left(LEFT).margin_right(RIGHT).margin_top(TOP).margin_bottom(BOTTOM);
        let chart =
            chart.build_cartesian_2d(0.0..highest_rate, (lowest..highest).log_scale()).map_err(text)?;
        let place = |rate: f64, ms: f64| chart.backend_coord(&(rate, ms));
        let scale = Scale { place: &place, highest_rate, lowest, highest };
        axes(&area, &scale)?;
        title(&area, report)?;
        knee(&area, &scale, report)?;
        series(&area, &scale, report)?;
        area.present().map_err(text)?;
    }
    Ok(with_style(&svg))
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn in_ms(us: u64) -> f64 {
    us.max(1) as f64 / 1000.0
}

/// From the least to the greatest latency, with some air.
fn bounds(report: &Report) -> (f64, f64) {
    let all = || report.steps.iter().flat_map(|step| SERIES.map(|(_, _, _, of)| in_ms(of(&step.latency))));
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.001, f64::max));
    (least.min(most) / 1.4, most * 1.4)
}

fn font(size: i32, shade: Shade, horizontal: HPos) -> TextStyle<'static> {
    let mut style = TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(horizontal, VPos::Center));
    style.color = shade.0.to_backend_color();
    style
}

fn write(area: &Area, at: (i32, i32), what: &str, style: &TextStyle) -> Drawn {
    area.draw(&Text::new(what, at, style)).map_err(text)
}

fn stroke(area: &Area, points: Vec<(i32, i32)>, shade: Shade, width: u32) -> Drawn {
    area.draw(&PathElement::new(points, shade.0.stroke_width(width))).map_err(text)
}

fn axes(area: &Area, scale: &Scale) -> Drawn {
    let (left, bottom) = (scale.place)(0.0, scale.lowest);
    let (right, top) = (scale.place)(scale.highest_rate, scale.highest);
    let ticks = latency_ticks(scale.lowest, scale.highest);
    for (ms, is_labelled) in ticks {
        let y = (scale.place)(0.0, ms).1;
        stroke(area, vec![(left, y), (right, y)], if is_labelled { LINE } else { FAINT }, 1)?;
        if is_labelled {
            write(area, (left - 10, y), &milliseconds(ms), &font(17, MUTED, HPos::Right))?;
        }
    }
    for rate in rate_ticks(scale.highest_rate) {
        let x = (scale.place)(rate, scale.lowest).0;
        stroke(area, vec![(x, top), (x, bottom)], FAINT, 1)?;
        write(area, (x, bottom + 18), &grouped(rate as u64), &font(17, MUTED, HPos::Center))?;
    }
    stroke(area, vec![(left, bottom), (right, bottom)], MUTED, 1)?;
    let middle = i32::midpoint(left, right);
    write(area, (middle, bottom + 44), "offered rate (orders/s)", &font(18, INK, HPos::Center))?;
    let upright = font(18, INK, HPos::Center).transform(FontTransform::Rotate270);
    write(area, (20, i32::midpoint(top, bottom)), "latency (ms, logarithmic)", &upright)
}

fn title(area: &Area, report: &Report) -> Drawn {
    let mut bold = font(24, INK, HPos::Left);
    bold.font = bold.font.style(FontStyle::Bold);
    write(area, (LEFT, 28), "Latency of an order over the offered rate", &bold)?;
    let arrivals = match report.arrivals {
        Arrivals::Uniform => "uniform",
        Arrivals::Poisson => "Poisson",
    };
    let about = format!(
        "open loop, {arrivals} arrivals, {} s a rate; from the intended send to the outcome being read; one worker",
        report.seconds
    );
    write(area, (LEFT, 54), &about, &font(16, MUTED, HPos::Left))
}

fn knee(area: &Area, scale: &Scale, report: &Report) -> Drawn {
    let Some(knee) = report.knee else { return Ok(()) };
    let (right, top) = (scale.place)(scale.highest_rate, scale.highest);
    let beside = |text: &str| write(area, (right, top - 14), text, &font(18, KNEE, HPos::Right));
    let Some(rate) = knee.rate else { return beside("no knee: not even the lowest rate holds") };
    let told = format!("{}/s", grouped(u64::from(rate)));
    if !knee.passed {
        return beside(&format!("no knee up to {told}"));
    }
    let (x, bottom) = (scale.place)(f64::from(rate), scale.lowest);
    let style: ShapeStyle = KNEE.0.stroke_width(2);
    area.draw(&DashedPathElement::new([(x, top), (x, bottom)], 6, 5, style)).map_err(text)?;
    // Centred on its line, but within the picture.
    let x = x.clamp(LEFT + KNEE_LABEL / 2, right - KNEE_LABEL / 2);
    write(area, (x, top - 14), &format!("knee: {told}"), &font(18, KNEE, HPos::Center))
}

fn series(area: &Area, scale: &Scale, report: &Report) -> Drawn {
    let mut ends = Vec::new();
    for (name, shade, width, of) in SERIES {
        let points =
            report.steps.iter().map(|step| (scale.place)(f64::from(step.rate), in_ms(of(&step.latency))));
        let points: Vec<(i32, i32)> = points.collect();
        stroke(area, points.clone(), shade, width)?;
        for point in &points {
            area.draw(&Circle::new(*point, 4, shade.0.filled())).map_err(text)?;
        }
        ends.extend(points.last().map(|end| (name, shade, *end)));
    }
    let places = apart(&ends.iter().map(|(_, _, end)| end.1).collect::<Vec<_>>());
    for ((name, shade, end), y) in ends.iter().zip(places) {
        write(area, (end.0 + 12, y), name, &font(17, *shade, HPos::Left))?;
    }
    Ok(())
}

/// Labels beside the ends of their lines, from the top down, none on top of another.
fn apart(wanted: &[i32]) -> Vec<i32> {
    let mut places: Vec<i32> = wanted.to_vec();
    for n in 1..places.len() {
        places[n] = places[n].max(places[n - 1] + LABEL_HEIGHT);
    }
    // As far down as the first ones were pushed, half goes back up.
    let pushed = places.iter().zip(wanted).map(|(place, wanted)| place - wanted).max().unwrap_or(0);
    places.iter().map(|place| place - pushed / 2).collect()
}

/// 1, 2 and 5 of each power of ten between; labelled are the powers, or all where there are few.
fn latency_ticks(lowest: f64, highest: f64) -> Vec<(f64, bool)> {
    let all =
        (-4..8).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| (digit * 10_f64.powi(power), digit < 2.0)));
    let within: Vec<(f64, bool)> = all.filter(|(ms, _)| (lowest..=highest).contains(ms)).collect();
    let few = within.iter().filter(|(_, is_power)| *is_power).count() < 3;
    within.into_iter().map(|(ms, is_power)| (ms, is_power || few)).collect()
}

/// Round rates from 0 on, four to ten of them.
fn rate_ticks(highest: f64) -> Vec<f64> {
    let power = 10_f64.powi((highest / 5.0).log10().floor() as i32);
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| highest / step <= 8.0);
    let step = step.unwrap_or(highest).max(1.0);
    (0..).map(|n| f64::from(n) * step).take_while(|rate| *rate <= highest).collect()
}

fn milliseconds(ms: f64) -> String {
    if ms >= 1.0 { grouped(ms.round() as u64) } else { ms.to_string() }
}

/// 12,345.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Adds a name for readers of screens, and the colours of the night: a rule of a style sheet beats an attribute.
fn with_style(svg: &str) -> String {
    let hex = |RGBColor(red, green, blue): RGBColor| format!("#{red:02X}{green:02X}{blue:02X}");
    let shades = [PAPER, INK, MUTED, LINE, FAINT, KNEE].into_iter().chain(SERIES.map(|(_, shade, ..)| shade));
    let rules = shades.map(|(day, night)| {
        let (day, night) = (hex(day), hex(night));
        format!("[fill=\"{day}\"]{{fill:{night}}}[stroke=\"{day}\"]{{stroke:{night}}}\n")
    });
    let style =
        format!("<style>@media (prefers-color-scheme: dark) {{\n{}}}</style>\n", rules.collect::<String>());
    let open = svg.find('>').map_or(0, |end| end + 1);
    let (open, rest) = svg.split_at(open);
    format!("{open}\n<title>Latency of an order over the offered rate</title>\n{style}{}", rest.trim_start())
}

#[cfg(test)]
#[path = "plot_tests.rs"]
mod tests;
