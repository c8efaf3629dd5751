"""The model as routes see it: `Service`. It knows neither HTTP nor any interface's fields."""
