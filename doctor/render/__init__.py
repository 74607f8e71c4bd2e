"""A report as text. Renderers decide nothing: order, verdict and wording are the report's."""
