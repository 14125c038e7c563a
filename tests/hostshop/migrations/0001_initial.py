import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")
USER = models.OneToOneField(
    on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL
)


class Migration(migrations.Migration):
    initial = True

    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.CreateModel(
            name="Customer",
            fields=[("id", ID), ("user", USER), ("email", models.EmailField(max_length=254))],
        ),
    ]
