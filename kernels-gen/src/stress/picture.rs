//! The picture: condition numbers across, errors up, both by their logarithms.

use super::{Series, Stress, StressError};
use crate::map::{Canvas, SCALE, TEXT};
use crate::render::power_of_10;
use hunt::stress::Finding;
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 520);
/// From left to right, and from below to above: what is beyond is drawn at the edge.
const CONDITIONS: [f64; 2] = [0.5, 1e9];
const ERRORS: [f64; 2] = [1e-9, 10.0];
/// Of f32.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;

impl Stress {
    /// Errors by condition number, as SVG.
    ///
    /// # Errors
    /// None that is known: the picture is text in memory.
    pub fn svg(&self) -> Result<String, StressError> {
        let mut text = String::new();
        {
            let canvas = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            canvas.fill(&WHITE).map_err(failed)?;
            self.draw(&canvas)?;
            canvas.present().map_err(failed)?;
        }
        Ok(text)
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Result<(), StressError> {
        let title = ("sans-serif", 21).into_font().style(FontStyle::Bold).color(&TEXT);
        let small = ("sans-serif", 14).into_font().color(&TEXT);
        canvas.draw(&Text::new("Where attention loses digits", (64, 14), title)).map_err(failed)?;
        canvas.draw(&Text::new(self.about.as_str(), (64, 42), small)).map_err(failed)?;
        let [x, y] = [CONDITIONS, ERRORS].map(|[from, to]| (from..to).log_scale());
        let mut chart = ChartBuilder::on(canvas)
            .margin(12)
            .margin_top(68)
            .set_label_area_size(LabelAreaPosition::Left, 58)
            .set_label_area_size(LabelAreaPosition::Bottom, 44)
            .build_cartesian_2d(x, y)
            .map_err(failed)?;
        let label = |x: &f64| power_of_10(&format!("{:.0}", x.log10()));
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(TEXT.mix(0.1))
            .axis_style(TEXT.mix(0.5))
            .label_style(("sans-serif", 13).into_font().color(&TEXT))
            .axis_desc_style(("sans-serif", 15).into_font().color(&TEXT))
            .x_desc("condition: how much an input's rounding is worth in the output")
            .y_desc("largest |error| / largest |o| of a case")
            .x_label_formatter(&label)
            .y_label_formatter(&label)
            .draw()
            .map_err(failed)?;
        let line = CONDITIONS.map(|x| (x, x * ROUNDING));
        let style = TEXT.mix(0.7).stroke_width(1);
        chart
            .draw_series([PathElement::new(line.to_vec(), style)])
            .map_err(failed)?
            .label("each input off by half a unit in the last place of f32")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        let [own, others @ ..] = &self.findings;
        let bounds = own.findings.iter().map(|f| dot(f.condition, f.relative_bound(), BOUND));
        chart
            .draw_series(bounds)
            .map_err(failed)?
            .label("flashlet's certified bound")
            .legend(|(x, y)| Circle::new((x + 8, y), 2, BOUND.filled()));
        let colours = [SCALE[2], SCALE[3]];
        let all = others.iter().zip(colours).chain([(own, SCALE[5])]);
        for (Series { name, findings }, colour) in all {
            let point = |f: &Finding| dot(f.condition, f.error(), colour);
            chart
                .draw_series(findings.iter().map(point))
                .map_err(failed)?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 8, y), 2, colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font(("sans-serif", 13).into_font().color(&TEXT))
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(failed)
    }
}

const BOUND: RGBColor = RGBColor(168, 196, 216);

fn dot(condition: f64, error: f64, colour: RGBColor) -> Circle<(f64, f64), i32> {
    let inside = |[from, to]: [f64; 2], x: f64| if x.is_nan() { to } else { x.clamp(from, to) };
    Circle::new((inside(CONDITIONS, condition), inside(ERRORS, error)), 2, colour.filled())
}

fn failed(error: impl std::fmt::Display) -> StressError {
    StressError(error.to_string())
}
