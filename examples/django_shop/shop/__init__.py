"""A shop with Django: an order and what is said of it are committed together, or neither is.

::

    pip install 'notifykit-sdk[django]'
    python manage.py migrate && python manage.py notifykit migrate
    python manage.py createsuperuser
    python manage.py notifykit run &       # delivers
    python manage.py runserver             # the shop, and the admin at /admin/
"""
