"""What a trained model is good for: recommending, exporting, explaining, browsing."""
