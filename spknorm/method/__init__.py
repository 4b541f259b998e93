"""The method: four equations, their readings, one minus sign, and what a step is made of."""
