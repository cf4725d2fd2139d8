"""The beginning of a network of keras.applications, frozen or not, after augmentation."""

import keras
from keras import layers

augmentation = keras.Sequential(
    [layers.RandomFlip("horizontal"), layers.RandomTranslation(0.1, 0.1)], name="augmentation"
)


def build_model(hp):
    whole = keras.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    base = keras.Model(whole.input, whole.get_layer("conv_pw_2_relu").output, name="base")
    base.trainable = hp.Boolean("fine_tune", default=True)
    inputs = keras.Input(shape=(8, 8, 3))
    x = augmentation(inputs)
    x = layers.Resizing(32, 32)(x)
    x = layers.Rescaling(1.0 / 127.5, offset=-1)(x)
    x = base(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    outputs = layers.Dense(4, activation="softmax", dtype="float32")(x)
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
